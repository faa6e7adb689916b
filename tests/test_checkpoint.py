"""Checkpoints: what comes back, what hostile files do, and what a failed write leaves behind."""

import hashlib
import json
import pickle
import struct
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors.torch import save as to_bytes
from scenes import noise

import torchsep
from torchsep import checkpoint, registry
from torchsep.checkpoint import FORMAT_VERSION, load, read_header, save
from torchsep.separators import HPSS, HighLowPassFilter, Interval, MixAsEstimate, Repet, Separator
from torchsep.transforms import STFT


class Scales(Separator):
    """A separator with a learned tensor, a count that is none of float, and a hyper-parameter."""

    trainable_parameters: ClassVar = {"gain": Interval(0.0)}

    def __init__(self, sizes=(3, 2), gain=1.0, *, sample_rate, trainable=()):
        super().__init__(sample_rate=sample_rate, trainable=trainable)
        self.sizes = sizes
        self.gain = gain
        self.weight = torch.nn.Parameter(torch.zeros(*sizes))
        self.register_buffer("steps", torch.tensor(0))

    def separate(self, mixture, **required):
        return (mixture * self.weight.sum() * self.gain)[:, None]


@pytest.fixture(autouse=True)
def shipped(tmp_path, monkeypatch):
    """An empty folder in the place of the checkpoints that come with the library, and one class more."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr(checkpoint, "resource_folder", lambda name: folder)
    monkeypatch.setattr(registry, "_REGISTERED", {**registry._REGISTERED, "scales": Scales})
    return folder


def trained():
    separator = Scales((3, 2), 0.5, sample_rate=8000, trainable=("gain",))
    with torch.no_grad():
        separator.weight += noise(3, 2).float()
        separator.free_gain += 0.25
        separator.steps += 7
    return separator


def write(path, tensors=None, *, separator=None, honest=True, **changes):
    """A file like one of ours, with a header changed; ``None`` takes an entry out."""
    separator = trained() if separator is None else separator
    tensors = dict(separator.state_dict()) if tensors is None else tensors
    header = {
        "format_version": FORMAT_VERSION,
        "config": separator.config,
        "names": list(separator.names),
        "sample_rate": separator.sample_rate,
        "sha256": hashlib.sha256(to_bytes(tensors)).hexdigest() if honest else "0" * 64,
        "about": {},
        **changes,
    }
    header = {key: value for key, value in header.items() if value is not None}
    path.write_bytes(to_bytes(tensors, metadata={"torchsep": json.dumps(header)}))
    return path


def refused(path, message):
    """Loading and reading say why, name the file, and raise nothing else."""
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert type(caught.value) is ValueError
    return str(caught.value)


@pytest.mark.parametrize(
    "separator",
    [
        HPSS((17, 9), margin=(1.5, 2.0), sample_rate=8000, stft=STFT(64, window=("kaiser", 8.0)), trainable=["margin"]),
        HighLowPassFilter(900.0, sample_rate=8000, mask_type="soft", trainable=("cutoff_hz",)),
        MixAsEstimate(3, sample_rate=8000),
        Repet(0.05, period=0.07, sample_rate=8000),
    ],
    ids=lambda separator: type(separator).__name__,
)
def test_a_separator_comes_back(separator, tmp_path):
    separator.train()
    again = load(save(separator, tmp_path / "one"))
    assert type(again) is type(separator)
    assert not again.training
    assert separator.training
    assert again.config == separator.config
    mixture = noise(3, 2, 1500)
    assert torch.equal(again(mixture), separator(mixture))


def test_what_was_learned_comes_back(tmp_path):
    separator = trained()
    again = load(save(separator, tmp_path / "one"))
    assert again.steps == 7
    assert again.steps.dtype == torch.int64
    assert {name: tensor.tolist() for name, tensor in again.state_dict().items()} == {
        name: tensor.tolist() for name, tensor in separator.state_dict().items()
    }
    assert all(parameter.requires_grad for parameter in again.parameters())
    assert again.gain.item() == separator.gain.item() != pytest.approx(0.5)


@pytest.mark.parametrize(
    ("given", "written"),
    [("one", "one.safetensors"), ("one.safetensors", "one.safetensors"), ("v1.2", "v1.2.safetensors")],
)
def test_the_suffix_is_appended(given, written, tmp_path):
    assert save(MixAsEstimate(2, sample_rate=8000), str(tmp_path / given)) == tmp_path / written
    assert (tmp_path / written).is_file()


def test_the_header_says_what_it_is(tmp_path):
    separator = trained()
    path = save(separator, tmp_path / "one", about={"data": ["a", 1], "reached": {"si_sdr": 7.5}})
    header = read_header(path)
    assert header == {
        "format_version": 1,
        "config": json.loads(json.dumps(separator.config)),
        "names": [],
        "sample_rate": 8000,
        "sha256": hashlib.sha256(to_bytes(dict(separator.state_dict()))).hexdigest(),
        "about": {"data": ["a", 1], "reached": {"si_sdr": 7.5}},
    }
    assert read_header(save(HPSS(sample_rate=8000), tmp_path / "two"))["names"] == ["harmonic", "percussive"]


def test_the_same_separator_makes_the_same_file(tmp_path):
    first, second = save(trained(), tmp_path / "one"), save(trained(), tmp_path / "two")
    assert first.read_bytes() == second.read_bytes()


def test_a_folder_holds_a_checkpoint(tmp_path):
    save(trained(), tmp_path / "model")
    assert load(tmp_path).steps == 7
    assert load(str(tmp_path)).steps == 7


def test_checkpoints_that_come_with_the_library(shipped, tmp_path):
    for name in ("voice", "drums"):
        (shipped / name).mkdir()
        save(trained(), shipped / name / "model")
    assert load("voice").steps == 7
    assert read_header("drums")["config"]["name"] == "scales"
    assert torchsep.load is load
    with pytest.raises(
        FileNotFoundError, match=r"^voic is neither .*; the names that come with torchsep are drums, voice$"
    ):
        load("voic")
    with pytest.raises(FileNotFoundError, match=r"is neither a checkpoint file nor a folder with model\.safetensors"):
        load(tmp_path / "voice")
    with pytest.raises(FileNotFoundError):
        load("../shipped/voice")


def test_nothing_is_found(tmp_path):
    for missing in ("nothing", tmp_path / "nothing.safetensors", tmp_path / "shipped"):
        with pytest.raises(
            FileNotFoundError, match=r"is neither a checkpoint file nor a folder with model\.safetensors$"
        ):
            load(missing)


def test_a_file_comes_before_a_name(shipped, tmp_path, monkeypatch):
    (shipped / "voice").mkdir()
    save(MixAsEstimate(2, sample_rate=8000), shipped / "voice" / "model")
    work = tmp_path / "work"
    (work / "voice").mkdir(parents=True)
    save(MixAsEstimate(3, sample_rate=8000), work / "voice" / "model")
    monkeypatch.chdir(work)
    assert load("voice").num_sources == 3


class Bomb:
    """What a pickle that runs code looks like."""

    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return Path.touch, (self.victim,)


@pytest.mark.parametrize("writer", [lambda bomb, path: path.write_bytes(pickle.dumps(bomb)), torch.save])
def test_a_pickle_is_refused_and_not_run(writer, tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "one.safetensors"
    writer(Bomb(victim), path)
    refused(path, r"one\.safetensors is not a safetensors file, or is damaged")
    with pytest.raises(ValueError, match="is not a safetensors file"):
        read_header(path)
    assert not victim.exists()
    if writer is not torch.save:  # the bomb is live
        pickle.loads(path.read_bytes())  # noqa: S301
        assert victim.exists()


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 100, -1, -20])
def test_a_file_cut_short_is_refused(keep, tmp_path):
    path = save(trained(), tmp_path / "one")
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    refused(path, "is not a safetensors file, or is damaged")


def test_a_file_with_bytes_too_many_is_refused(tmp_path):
    path = save(trained(), tmp_path / "one")
    path.write_bytes(path.read_bytes() + b"\0")
    refused(path, "is not a safetensors file, or is damaged")


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 2**31, 100_000_001, 0])
def test_a_header_of_any_length_is_refused(length, tmp_path):
    path = save(trained(), tmp_path / "one")
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    refused(path, "is not a safetensors file, or is damaged")


def test_every_flipped_byte_of_the_weights_is_noticed(tmp_path):
    path = save(trained(), tmp_path / "one")
    whole = path.read_bytes()
    start = 8 + struct.unpack("<Q", whole[:8])[0]
    for position in range(start, len(whole), 3):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        refused(path, "is damaged: its tensors do not match their checksum")


def test_a_wrong_checksum_is_refused(tmp_path):
    refused(write(tmp_path / "one", honest=False), "is damaged: its tensors do not match their checksum")
    refused(write(tmp_path / "one", sha256=None), "is damaged: its tensors do not match their checksum")


@pytest.mark.parametrize("version", [0, 2, "1", None, [1], 1.5])
def test_another_format_version_is_refused(version, tmp_path):
    message = refused(write(tmp_path / "one", format_version=version), "has format version")
    assert f"has format version {version!r}, this torchsep reads 1" in message


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {"format": "pt"},
        {"torchsep": ""},
        {"torchsep": "{"},
        {"torchsep": "[]"},
        {"torchsep": "{}"},
        {"torchsep": "null"},
        {"torchsep": '{"config": "hpss", "format_version": 1}'},
        {"torchsep": '{"config": null, "format_version": 1}'},
        {"torchsep": "9" * 5000},
        {"torchsep": "[" * 200_000},
        {"torchsep": '{"config":' + '{"a":' * 100_000},
    ],
    ids=lambda metadata: str(metadata)[:40],
)
def test_other_safetensors_files_are_refused(metadata, tmp_path):
    path = tmp_path / "one.safetensors"
    path.write_bytes(to_bytes({"weight": torch.zeros(3)}, metadata=metadata))
    refused(path, "is not a torchsep checkpoint: its header does not say what to build")


def with_tensors(**changes):
    tensors = {**trained().state_dict(), **changes}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


@pytest.mark.parametrize(
    ("tensors", "wrong"),
    [
        (with_tensors(weight=torch.zeros(2, 3)), "weight"),
        (with_tensors(weight=torch.zeros(6)), "weight"),
        (with_tensors(weight=None), "weight"),
        (with_tensors(weight=None, steps=None), "steps, weight"),
        (with_tensors(extra=torch.zeros(1)), "extra"),
        (with_tensors(free_gain=torch.zeros(1)), "free_gain"),
        ({}, "free_gain, steps, weight"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tensors, wrong, tmp_path):
    refused(write(tmp_path / "one", tensors), f"does not fit scales: {wrong} missing, unknown or misshapen$")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_refused(value, tmp_path):
    weight = torch.zeros(3, 2)
    weight[1, 1] = value
    refused(write(tmp_path / "one", with_tensors(weight=weight)), "holds NaN or infinite values in weight")


DEEP = json.loads("[" * 400 + "]" * 400)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "scalez", "sample_rate": 8000}, "separator must be a registered name, got 'scalez'"),
        ({"name": "os.system", "sample_rate": 8000}, "separator must be a registered name, got 'os.system'"),
        ({"name": "stft", "n_fft": 8}, "separator must be a registered name, got 'stft'"),
        ({"sample_rate": 8000}, "separator must be a name"),
        ({}, "separator must be a name"),
        ({"name": 3}, "separator must be a name"),
        ({"name": ["scales"]}, "separator must be a name"),
        ({"name": "scales", "sample_rate": 8000, "size": 3}, "scales has no argument 'size'; did you mean sizes"),
        ({"name": "scales", "sample_rate": 8000, "__class__": 3}, "scales has no argument '__class__'"),
        ({"name": "scales"}, "scales must be given sample_rate"),
        ({"name": "scales", "sample_rate": "8000"}, "sample_rate must be an integer, got '8000'"),
        ({"name": "scales", "sample_rate": -1}, "sample_rate must be at least 1, got -1"),
        ({"name": "scales", "sample_rate": 8000, "gain": float("nan")}, "gain must be finite, got nan"),
        ({"name": "scales", "sample_rate": 8000, "gain": 10**400}, "gain must be"),
        ({"name": "scales", "sample_rate": 8000, "gain": {"name": "os"}}, "name must be registered, got 'os'"),
        ({"name": "scales", "sample_rate": 8000, "gain": {"name": {}}}, "name must be registered"),
        ({"name": "hpss", "sample_rate": 8000, "stft": "x"}, "stft must be an STFT or None"),
        ({"name": "hpss", "sample_rate": 8000, "trainable": 3}, "trainable must be a sequence of names"),
        ({"name": "hpss", "sample_rate": 8000, "trainable": [["power"]]}, "trainable must name parameters"),
        ({"name": "hpss", "sample_rate": 8000, "trainable": [{}]}, "trainable must name parameters"),
        ({"name": "hpss", "sample_rate": 8000, "power": DEEP}, "power must be a number"),
        ({"name": "hpss", "sample_rate": 8000, "margin": [[1], [2]]}, "margin must be a number"),
        ({"name": "hpss", "sample_rate": 8000, "stft": {"name": "stft", "n_fft": 8, "window": 3}}, "window must"),
        ({"name": "hpss", "sample_rate": 8000, "stft": {"name": "stft", "n_fft": 8, "window": []}}, "window must"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_configs_that_build_nothing_are_refused(config, message, tmp_path):
    refused(write(tmp_path / "one", {}, config=config), message)


def test_classes_that_are_not_registered_are_not_saved(tmp_path):
    class Stranger(MixAsEstimate):
        """Not registered."""

    with pytest.raises(ValueError, match="separator must be a registered name, got 'stranger'"):
        save(Stranger(2, sample_rate=8000), tmp_path / "one")
    impostor = type("HPSS", (MixAsEstimate,), {"__doc__": "Another class of that name."})
    with pytest.raises(ValueError, match="separator must be of a registered class, got HPSS"):
        save(impostor(2, sample_rate=8000), tmp_path / "one")
    assert [path.name for path in tmp_path.iterdir()] == ["shipped"]


@pytest.mark.parametrize("about", [{"x": torch.zeros(1)}, {"x": float("nan")}, {"x": {1, 2}}, {("a",): 1}])
def test_what_json_cannot_hold_is_not_saved(about, tmp_path):
    with pytest.raises(ValueError, match="about and arguments must be plain values that JSON can hold"):
        save(MixAsEstimate(2, sample_rate=8000), tmp_path / "one", about=about)
    assert [path.name for path in tmp_path.iterdir()] == ["shipped"]


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
def test_a_failed_write_leaves_the_old_file(step, tmp_path, monkeypatch):
    path = save(MixAsEstimate(2, sample_rate=8000), tmp_path / "one")
    before = path.read_bytes()
    original = getattr(Path, step)

    def fail(self, argument):
        if step == "write_bytes":
            original(self, argument[:50])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, step, fail)
        with pytest.raises(OSError, match="No space left on device"):
            save(trained(), path)
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["one.safetensors", "shipped"]
    assert load(save(trained(), path)).steps == 7


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        save(MixAsEstimate(2, sample_rate=8000), tmp_path / "no" / "one")
