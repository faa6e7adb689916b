"""Checkpoint files: names, contents, and failed writes."""

import json
from pathlib import Path

import pytest
import torch
from checkpoint.examples import DEEP, checksum, trained

from torchsep.checkpoint import load, read_header, save
from torchsep.separators import HPSS, MixAsEstimate, Repet


@pytest.mark.parametrize(
    ("given", "written"),
    [("one", "one.safetensors"), ("one.safetensors", "one.safetensors"), ("v1.2", "v1.2.safetensors")],
)
def test_suffix_is_appended(given, written, tmp_path):
    assert save(MixAsEstimate(2, sample_rate=8000), str(tmp_path / given)) == tmp_path / written
    assert (tmp_path / written).is_file()


def test_header_has_config_names_rate_and_checksum(tmp_path):
    separator = trained()
    path = save(separator, tmp_path / "one", about={"data": ["a", 1], "reached": {"si_sdr": 7.5}})
    header = read_header(path)
    assert header == {
        "format_version": 1,
        "config": json.loads(json.dumps(separator.config)),
        "names": [],
        "sample_rate": 8000,
        "sha256": checksum(separator.state_dict()),
        "about": {"data": ["a", 1], "reached": {"si_sdr": 7.5}},
    }
    assert read_header(save(HPSS(sample_rate=8000), tmp_path / "two"))["names"] == ["harmonic", "percussive"]


def test_files_are_reproducible(tmp_path):
    first, second = save(trained(), tmp_path / "one"), save(trained(), tmp_path / "two")
    assert first.read_bytes() == second.read_bytes()


def test_unregistered_classes_are_refused(tmp_path):
    class Unregistered(MixAsEstimate):
        """A class that is not registered."""

    with pytest.raises(ValueError, match="separator must be a registered name, got 'unregistered'"):
        save(Unregistered(2, sample_rate=8000), tmp_path / "one")
    namesake = type("HPSS", (MixAsEstimate,), {"__doc__": "Another class with a registered name."})
    with pytest.raises(ValueError, match="separator must be of a registered class, got HPSS"):
        save(namesake(2, sample_rate=8000), tmp_path / "one")
    assert [path.name for path in tmp_path.iterdir()] == ["shipped"]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_non_finite_parameters_are_refused(value, tmp_path):
    separator = trained()
    with torch.no_grad():
        separator.weight[1, 1] = value
    with pytest.raises(ValueError, match="separator must have finite values, got NaN or infinite ones in weight"):
        save(separator, tmp_path / "one")


def test_checkpoints_too_large_to_load_are_refused(tmp_path):
    separator = MixAsEstimate(2, sample_rate=8000)
    for about in ({"log": "x" * 2**23}, {"deep": DEEP}):
        with pytest.raises(ValueError, match="about and arguments must"):
            save(separator, tmp_path / "one", about=about)
    with pytest.raises(ValueError, match="integers among the arguments must add up to at most 4194304"):
        save(Repet(0.05, period=10**7, sample_rate=8000), tmp_path / "one")
    assert [path.name for path in tmp_path.iterdir()] == ["shipped"]


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
def test_failed_write_keeps_the_old_file(step, tmp_path, monkeypatch):
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


def test_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        save(MixAsEstimate(2, sample_rate=8000), tmp_path / "no" / "one")
