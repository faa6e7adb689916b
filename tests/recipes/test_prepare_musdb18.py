"""Decoding of MUSDB18's MP4 files with five streams."""

import subprocess

import pytest
import torch
from recipes.scripts import load

from torchsep import audio
from torchsep.data import MUSDB18HQ

prepare = load("musdb18")
RATE = 44100


@pytest.fixture
def encode(tmp_path):
    """A function that writes an MP4 file whose streams are tones of 200 Hz, 400 Hz, ..."""
    pytest.importorskip("imageio_ffmpeg")

    def write(path, streams=5):
        path.parent.mkdir(parents=True, exist_ok=True)
        given, maps = [], []
        for number in range(streams):
            time = torch.arange(RATE) / RATE
            tone = 0.1 * torch.sin(2 * torch.pi * 200 * (number + 1) * time).expand(2, -1)
            audio.write(tmp_path / f"{number}.wav", tone, RATE, "PCM_16")
            given += ["-i", str(tmp_path / f"{number}.wav")]
            maps += ["-map", str(number)]
        command = [prepare.find_ffmpeg(), "-v", "error", *given, *maps, "-c:a", "aac", "-f", "mp4", str(path)]
        subprocess.run(command, check=True)

    return write


def run(tmp_path):
    return prepare.main([str(tmp_path / "musdb18"), "--output", str(tmp_path / "out")])


def test_the_data_set_reads_what_was_decoded(encode, tmp_path):
    for split in ("train", "test"):
        encode(tmp_path / "musdb18" / split / f"-An Artist - A {split} song.stem.mp4")
    assert run(tmp_path) == 0
    songs = MUSDB18HQ(tmp_path / "out", split="test")
    assert len(songs) == 1
    item = songs[0]
    assert item["id"] == "test/-An Artist - A test song"
    assert item["sample_rate"] == RATE
    spectrum = torch.fft.rfft(torch.cat((item["mixture"][None], item["sources"]))[:, 0, :RATE])
    loudest = spectrum.abs().argmax(-1)
    order = {"mixture": 200, "drums": 400, "bass": 600, "other": 800, "vocals": 1000}
    assert loudest.tolist() == [order[name] for name in ("mixture", *songs.names)]


def test_files_with_other_streams_are_refused(encode, tmp_path, capsys):
    encode(tmp_path / "musdb18" / "train" / "a.stem.mp4")
    encode(tmp_path / "musdb18" / "test" / "b.stem.mp4", streams=2)
    assert run(tmp_path) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "b.stem.mp4: must have 5 audio streams, ffmpeg says: " in line
    assert not (tmp_path / "out").exists()


def test_missing_files_are_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(prepare, "find_ffmpeg", lambda: "ffmpeg")
    assert run(tmp_path) == 2
    assert "must hold files named NAME.stem.mp4, has none" in capsys.readouterr().err


def test_a_missing_ffmpeg_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(prepare.shutil, "which", lambda _: None)
    monkeypatch.setattr(prepare.importlib.util, "find_spec", lambda _: None)
    assert run(tmp_path) == 2
    assert "ffmpeg must be installed to decode MP4" in capsys.readouterr().err
