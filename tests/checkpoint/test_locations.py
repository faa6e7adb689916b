"""Checkpoints by path, by folder and by shipped name."""

import os

import pytest
from checkpoint.examples import trained

import torchsep
from torchsep.checkpoint import load, read_header, save
from torchsep.separators import MixAsEstimate


def test_folder_with_a_checkpoint(tmp_path):
    save(trained(), tmp_path / "model")
    assert load(tmp_path).steps == 7
    assert load(str(tmp_path)).steps == 7


def test_shipped_names(shipped, tmp_path):
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


def test_missing_files_and_names(tmp_path):
    for missing in ("nothing", tmp_path / "nothing.safetensors", tmp_path / "shipped"):
        with pytest.raises(
            FileNotFoundError, match=r"is neither a checkpoint file nor a folder with model\.safetensors$"
        ):
            load(missing)


def test_local_folder_precedes_shipped_name(shipped, tmp_path, monkeypatch):
    (shipped / "voice").mkdir()
    save(MixAsEstimate(2, sample_rate=8000), shipped / "voice" / "model")
    work = tmp_path / "work"
    (work / "voice").mkdir(parents=True)
    save(MixAsEstimate(3, sample_rate=8000), work / "voice" / "model")
    monkeypatch.chdir(work)
    assert load("voice").num_sources == 3


def test_paths_that_are_not_regular_files(tmp_path):
    (tmp_path / "folder" / "model.safetensors").mkdir(parents=True)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")
    names = ["folder", "folder/model.safetensors", "loop", "dangling", "pipe", "n" * 300, "nul\0", "/dev/zero"]
    for name in names:
        with pytest.raises(FileNotFoundError):
            load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        load("hub")


def test_symbolic_links_are_followed(tmp_path):
    save(trained(), tmp_path / "one")
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "one.safetensors")
    assert load(tmp_path / "link.safetensors").steps == 7
