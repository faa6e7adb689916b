"""Cached headers are used unless a file has changed."""

import json
import os

import pytest
from data.layouts import noise, write

from torchsep import audio
from torchsep.data import index
from torchsep.data.index import INDEX_NAME, Header, headers


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def probed(monkeypatch):
    """The files whose headers are read."""
    files = []
    probe = audio.probe
    monkeypatch.setattr(index.audio, "probe", lambda path: files.append(path.name) or probe(path))
    return files


@pytest.fixture
def root(tmp_path):
    for number in range(3):
        write(tmp_path / "root" / "train" / f"{number}.wav", noise(number, 2, 100 + number))
    return tmp_path / "root"


def files(root):
    return sorted(root.rglob("*.wav"))


def test_headers_are_those_of_the_files(root):
    assert list(headers(files(root), root).values()) == [Header(100 + number, 8000, 2) for number in range(3)]


def test_files_are_opened_once(root, probed):
    first = headers(files(root), root)
    assert sorted(probed) == ["0.wav", "1.wav", "2.wav"]
    assert headers(files(root), root) == first
    assert len(probed) == 3


def test_a_changed_file_is_opened_again(root, probed):
    headers(files(root), root)
    write(root / "train" / "1.wav", noise(1, 2, 500))
    os.utime(root / "train" / "2.wav", ns=(1, 1))
    assert headers(files(root), root)[root / "train" / "1.wav"].frames == 500
    assert sorted(probed[3:]) == ["1.wav", "2.wav"]


def test_new_files_are_added_to_the_old(root, probed):
    headers(files(root)[:1], root)
    headers(files(root)[1:], root)
    headers(files(root), root)
    assert len(probed) == 3


def test_it_moves_with_the_data(root, probed, tmp_path):
    headers(files(root), root)
    moved = root.rename(tmp_path / "elsewhere")
    headers(files(moved), moved)
    assert len(probed) == 3


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "\x00", '{"version": 1}', '{"version": 99}', '{"version": 1, "files": [1]}'),
        *('{"version": 1, "files": {"train/0.wav": [1, 2]}}', '{"version": 1, "files": {"train/0.wav": "12345"}}'),
    ],
)
def test_a_damaged_index_is_rewritten(root, probed, text):
    (root / INDEX_NAME).write_text(text)
    assert headers(files(root), root)[root / "train" / "0.wav"] == Header(100, 8000, 2)
    assert len(json.loads((root / INDEX_NAME).read_text())["files"]) == 3
    headers(files(root), root)
    assert len(probed) == 3


def test_it_lies_in_the_cache_where_the_data_cannot_be_written(root, probed, cache_folder, monkeypatch):
    (root / INDEX_NAME).mkdir()  # blocks the file even for a user with all permissions
    headers(files(root), root)
    headers(files(root), root)
    assert len(probed) == 3
    assert len(list((cache_folder / "torchsep").iterdir())) == 1
    assert {path.name for path in root.iterdir()} == {INDEX_NAME, "train"}  # no draft is left


def test_without_any_place_it_does_without(root, probed, cache_folder):
    (root / INDEX_NAME).mkdir()
    cache_folder.write_text("no folder")
    for _ in range(2):
        assert len(headers(files(root), root)) == 3
    assert len(probed) == 6


def test_only_the_index_is_left_behind(root):
    headers(files(root), root)
    assert {path.name for path in root.iterdir()} == {INDEX_NAME, "train"}


def test_what_cannot_be_read_is_told_and_forgotten(root):
    bad, gone = root / "train" / "0.wav", root / "train" / "1.wav"
    headers(files(root), root)
    bad.write_bytes(b"no audio")
    gone.unlink()
    found = headers([bad, gone], root)
    assert isinstance(found[bad], ValueError)
    assert isinstance(found[gone], FileNotFoundError)
    for path, error in found.items():
        assert str(error).startswith(f"{path}: ")
        assert "\n" not in str(error)
    assert list(json.loads((root / INDEX_NAME).read_text())["files"]) == ["train/2.wav"]


def test_files_outside_the_root(root, tmp_path, probed):
    outside = tmp_path / "outside.wav"
    write(outside, noise(9, 1, 50))
    for _ in range(2):
        assert headers([outside], root)[outside] == Header(50, 8000, 1)
    assert probed == ["outside.wav"]
