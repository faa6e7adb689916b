"""Failed writes leave no files."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from audio_files import FORMATS, RATE, fails, paths_in, tone

from torchsep import audio


def test_missing_folders_are_made(tmp_path):
    audio.write(tmp_path / "x" / "y" / "a.wav", tone(100), RATE)
    assert [path.name for path in (tmp_path / "x" / "y").iterdir()] == ["a.wav"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
@pytest.mark.parametrize("suffix", FORMATS)
def test_files_have_ordinary_permissions(tmp_path, umask, suffix):
    before = os.umask(umask)
    try:
        audio.write(tmp_path / f"a.{suffix}", tone(100), RATE)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / f"a.{suffix}").stat().st_mode) == 0o666 & ~umask


@pytest.mark.skipif(os.name == "nt", reason="POSIX links")
def test_a_link_is_preserved(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "a.wav"
    link.symlink_to(tmp_path / "there" / "b.wav")
    audio.write(link, tone(100), RATE)
    assert link.is_symlink()
    assert audio.probe(tmp_path / "there" / "b.wav").num_samples == 100
    assert len(list((tmp_path / "there").iterdir())) == 1


def fail_at_second_file(monkeypatch, error):
    """Make soundfile fail when it writes to the second file."""
    written, original = [], soundfile.SoundFile.write

    def write(self, data):
        if self.name not in written:
            written.append(self.name)
        if len(written) == 2:
            original(self, data[: len(data) // 2])
            raise error
        original(self, data)

    monkeypatch.setattr(soundfile.SoundFile, "write", write)


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (soundfile.LibsndfileError(2), OSError),
        (AssertionError(), OSError),
        (OSError(errno.EIO, "Input/output error"), OSError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (RuntimeError("anything"), RuntimeError),
    ],
)
def test_a_failure_in_the_second_source_changes_nothing(tmp_path, monkeypatch, error, seen):
    old, new = paths_in(tmp_path, "wav", 2)
    old.write_bytes(b"what was here before")
    fail_at_second_file(monkeypatch, error)
    with pytest.raises(seen) as caught:
        audio.write_sources([old, new], torch.stack([tone(), tone()]), RATE)
    if seen is OSError:
        assert str(caught.value).startswith(f"{new}: ")
        assert "\n" not in str(caught.value)
    assert old.read_bytes() == b"what was here before"
    assert list(tmp_path.iterdir()) == [old]


def test_files_appear_only_when_all_are_complete(tmp_path, monkeypatch):
    paths, seen, original = paths_in(tmp_path, "flac"), [], soundfile.SoundFile.write

    def write(self, data):
        seen.extend(path.name for path in tmp_path.iterdir())
        original(self, data)

    monkeypatch.setattr(soundfile.SoundFile, "write", write)
    audio.write_sources(paths, torch.stack([tone()] * 3), RATE)
    assert sorted(tmp_path.iterdir()) == paths
    assert seen
    assert all(name.startswith(".") and name.endswith(".flac") for name in seen)


def test_an_unreported_short_write_is_detected(tmp_path, monkeypatch):
    original = soundfile.SoundFile.write
    monkeypatch.setattr(soundfile.SoundFile, "write", lambda self, data: original(self, data[:-1]))
    path = tmp_path / "a.wav"
    match = rf"could not be written in full \(disk full\? \d+ MB free in {tmp_path}\); nothing was kept"
    fails(OSError, path, match, audio.write, path, tone(), RATE)
    assert not list(tmp_path.iterdir())


def test_a_folder_in_place_of_the_file(tmp_path):
    paths = paths_in(tmp_path, "wav", 2)
    paths[1].mkdir()
    sources = torch.stack([tone(), tone()])
    fails(IsADirectoryError, paths[1], "is a folder", audio.write_sources, paths, sources, RATE)
    assert list(tmp_path.iterdir()) == [paths[1]]


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "a.wav"
    with pytest.raises(OSError, match=r"a.wav: cannot be written \(.*\); check the folder") as caught:
        audio.write(path, tone(), RATE)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("method", ["open", "mkdir", "replace"])
def test_a_folder_which_cannot_be_written(tmp_path, monkeypatch, method):
    path = tmp_path / "a.wav"

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", "hidden")

    monkeypatch.setattr(Path, method, refuse)
    fails(PermissionError, path, r"cannot be written \(Permission denied\)", audio.write, path, tone(), RATE)
    assert not list(tmp_path.iterdir())


DISK_FULL = """
import os, resource, signal, sys
import torch
from torchsep import audio

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
suffixes, folder = sys.argv[1].split(","), sys.argv[2]
for suffix in suffixes:
    torch.manual_seed(0)
    sources = 0.3 * torch.randn(2, 2, 44100)
    sources[0] *= 1e-3 if suffix in ("flac", "ogg") else 1
    inside = f"{folder}/{suffix}"
    paths = [f"{inside}/{index}.{suffix}" for index in range(2)]
    audio.write_sources(paths, sources, 44100)
    size = os.path.getsize(paths[1])
    old = [open(path, "rb").read() for path in paths]
    for limit in (0, 10, 60, 5000, size // 2, size - 5000, size - 300, size - 1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            audio.write_sources(paths, sources, 44100)
            result = "no error"
        except BaseException as error:
            result = f"{type(error).__name__} {error}"
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        same = [open(path, "rb").read() for path in paths] == old
        print(suffix, same, len(os.listdir(inside)), result)
"""


@pytest.fixture(scope="module")
def full_disk(tmp_path_factory):
    """Results of a process with a file size limit, for all formats."""
    folder = tmp_path_factory.mktemp("full")
    command = [sys.executable, "-c", DISK_FULL, ",".join(FORMATS), str(folder)]
    root = Path(__file__).parents[2]
    out = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return folder, out.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the size of files")
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_full_disk_leaves_the_old_files(full_disk, suffix):
    folder = full_disk[0] / suffix
    lines = [line for line in full_disk[1] if line.startswith(f"{suffix} ")]
    assert len(lines) == 8
    for line in lines:
        _, same, count, result = line.split(" ", 3)
        assert (same, count) == ("True", "2"), line
        assert result.startswith(f"OSError {folder}/"), line
        assert "could not be written in full (disk full? " in result, line
        assert result.endswith(f" MB free in {folder}); nothing was kept"), line
