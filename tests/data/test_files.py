"""Finding and reading audio files."""

import numpy as np
import pytest
import soundfile

from torchsep.data import AudioFiles, find_audio_files


@pytest.fixture
def folder(tmp_path):
    for name in ("b/two.FLAC", "a.wav", "b/.hidden.wav", "b/c/three.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, np.zeros((10, 2)) + 0.25, 8000, format=name.rpartition(".")[2].upper())
    (tmp_path / "notes.txt").write_text("words")
    return tmp_path


def test_folders_are_searched_in_order(folder):
    assert find_audio_files([folder]) == [folder / "a.wav", folder / "b/c/three.wav", folder / "b/two.FLAC"]


def test_each_file_is_found_once(folder):
    assert find_audio_files([folder / "a.wav", folder, folder / "b/../a.wav"])[0] == folder / "a.wav"
    assert len(find_audio_files([folder / "a.wav", folder, folder / "b/../a.wav"])) == 3


def test_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no audio file"):
        find_audio_files([tmp_path])


@pytest.mark.parametrize("rate", [2**31 - 1, 5_000_000])
def test_an_impossible_rate_is_an_error(tmp_path, rate):
    soundfile.write(tmp_path / "lie.wav", np.zeros(1000), rate)
    soundfile.write(tmp_path / "bats.wav", np.zeros(1000), 4_000_000)
    data = AudioFiles([tmp_path / "lie.wav", tmp_path / "bats.wav"])
    assert data[0]["error"].startswith(f"{tmp_path / 'lie.wav'}: says 1000 samples at {rate} Hz, which cannot be right")
    assert data[1]["info"].sample_rate == 4_000_000


def test_items(folder):
    data = AudioFiles([folder / "a.wav", folder / "missing.wav"])
    assert len(data) == 2
    assert data[0]["info"].num_samples == 10
    assert data[0]["info"].sample_rate == 8000
    assert set(data[1]) == {"path", "error"}
    assert "missing.wav" in data[1]["error"]
