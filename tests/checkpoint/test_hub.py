"""Checkpoints on the Hugging Face hub, without the network."""

import hashlib
import os
import pickle
import sys

import pytest
from checkpoint.examples import TouchesFile, trained

from torchsep.checkpoint import load, read_header, save
from torchsep.separators import MixAsEstimate


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub, in offline mode."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def cached(hub, separator, revision="main"):
    """Add a repository to the cache, in the layout of huggingface_hub, and return its commit."""
    folder = hub / "models--ann--two.speakers"
    commit = hashlib.sha1(revision.encode()).hexdigest()  # noqa: S324 - as long as a commit
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / revision).write_text(commit)
    (folder / "blobs").mkdir(exist_ok=True)
    blob = save(separator, folder / "blobs" / revision)
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to(os.path.relpath(blob, snapshot))
    return commit


def test_cached_checkpoint_needs_no_network(hub):
    cached(hub, MixAsEstimate(2, sample_rate=8000))
    commit = cached(hub, MixAsEstimate(3, sample_rate=8000), "v2")
    assert load("hub:ann/two.speakers").num_sources == 2
    assert load("hub:ann/two.speakers@v2").num_sources == 3
    assert load(f"hub:ann/two.speakers@{commit}").num_sources == 3
    assert read_header("hub:ann/two.speakers@v2")["names"] == ["source_1", "source_2", "source_3"]
    for source in ("hub:ann/two.speakers@v3", "hub:ann/others"):
        with pytest.raises(FileNotFoundError, match=f"^{source} cannot be fetched without the network, and is not in"):
            load(source)


def test_pickle_on_the_hub_is_refused_and_not_executed(hub):
    cached(hub, trained())
    blob = hub / "models--ann--two.speakers" / "blobs" / "main.safetensors"
    blob.write_bytes(pickle.dumps(TouchesFile(hub / "created")))
    with pytest.raises(ValueError, match="is not a safetensors file, or is damaged"):
        load("hub:ann/two.speakers")
    assert not (hub / "created").exists()


@pytest.mark.parametrize(
    "source",
    [
        "hub:",
        "hub:name",
        "hub:/name",
        "hub:user/",
        "hub:user/name@",
        "hub:user/name/file",
        "hub:user/name@a@b",
        "hub:../name",
        "hub:user/..",
        "hub:user/name@v/../../x",
        "hub: user/name",
        "hub:user/name\n",
        "hub:usér/name",
        "hub:user/a--b",
        "hub:user/" + "n" * 100_000,
    ],
)
def test_malformed_hub_locations_are_refused(hub, source):
    with pytest.raises(ValueError, match=r"^source must be hub:user/name or hub:user/name@revision") as caught:
        load(source)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("LocalEntryNotFoundError", FileNotFoundError, "^hub:a/b cannot be fetched without the network, and is not in"),
        ("RepositoryNotFoundError", FileNotFoundError, "^hub:a/b is not on the hub, or is not open to you$"),
        ("GatedRepoError", FileNotFoundError, "^hub:a/b is not on the hub, or is not open to you$"),
        ("RevisionNotFoundError", FileNotFoundError, "^hub:a/b is not on the hub, or is not open to you$"),
        ("EntryNotFoundError", FileNotFoundError, r"^hub:a/b holds no model\.safetensors$"),
        ("HfHubHTTPError", OSError, "^hub:a/b cannot be fetched: in two lines$"),
        ("OfflineModeIsEnabled", OSError, "^hub:a/b cannot be fetched: in two lines$"),
        (None, OSError, "^hub:a/b cannot be fetched: in two lines$"),
    ],
)
def test_hub_errors_are_translated(name, kind, message, monkeypatch):
    base = RuntimeError if name is None else getattr(pytest.importorskip("huggingface_hub.errors"), name)

    class HubError(base):
        def __init__(self):
            Exception.__init__(self)

        def __str__(self):
            return "in\n two lines"

    def fail(*arguments, **options):
        raise HubError

    monkeypatch.setattr(pytest.importorskip("huggingface_hub"), "hf_hub_download", fail)
    with pytest.raises(kind, match=message):
        load("hub:a/b")


def test_only_one_file_is_downloaded(tmp_path, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    calls = []

    def download(*arguments, **options):
        calls.append((arguments, options))
        return str(save(trained(), tmp_path / "one"))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert load("hub:ann/two@refs/pr/1").steps == 7
    assert calls == [(("ann/two", "model.safetensors"), {"revision": "refs/pr/1"})]


def test_missing_huggingface_hub_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"must be installed for the hub: pip install 'torchsep\[hub\]'$"):
        load("hub:ann/two")
