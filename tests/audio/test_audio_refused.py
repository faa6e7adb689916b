"""Unreadable files and their error messages."""

import errno
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from audio_files import RATE, fails, save, tone

from torchsep import audio

READERS = pytest.mark.parametrize("reader", [audio.probe, audio.read])


@READERS
def test_missing_file_suggests_the_nearest_name(tmp_path, reader):
    save(tmp_path / "Mixture.WAV", tone(100))
    path = tmp_path / "mixtur.wav"
    message = fails(FileNotFoundError, path, "does not exist; did you mean", reader, path)
    assert message.endswith(f"{tmp_path / 'Mixture.WAV'}?")


@READERS
def test_missing_file_with_no_near_name(tmp_path, reader):
    save(tmp_path / "other.flac", tone(100))
    path = tmp_path / "zz.wav"
    message = fails(FileNotFoundError, path, "does not exist; check the path", reader, path)
    assert "other" not in message


@READERS
def test_missing_folder(tmp_path, reader):
    path = tmp_path / "none" / "a.wav"
    fails(FileNotFoundError, path, "nor can its folder", reader, path)


@READERS
def test_folder_instead_of_file(tmp_path, reader):
    fails(IsADirectoryError, tmp_path, "is a folder", reader, tmp_path)


@READERS
def test_no_permission_to_read(tmp_path, reader, monkeypatch):
    path = save(tmp_path / "a.wav", tone(100))

    def refuse(self, *_):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    fails(PermissionError, path, r"cannot be read \(Permission denied\); check", reader, path)


@READERS
def test_empty_file(tmp_path, reader):
    path = tmp_path / "a.wav"
    path.touch()
    fails(ValueError, path, r"is empty \(0 bytes\)", reader, path)


@READERS
@pytest.mark.parametrize("suffix", ["wav", "aiff", "ogg"])
def test_header_without_samples(tmp_path, reader, suffix):
    path = save(tmp_path / f"a.{suffix}", torch.zeros(2, 0))
    fails(ValueError, path, "holds no samples", reader, path)


@READERS
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff", "au"])
@pytest.mark.parametrize("content", [b"hello world\n" * 500, b"R", b"RIFF", b"OggS", b"ID3", b"\xff", b"fLaC"])
def test_text_with_the_name_of_audio(tmp_path, reader, suffix, content):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    fails(ValueError, path, "is no audio in spite of its name|is cut short", reader, path)


@READERS
@pytest.mark.parametrize("suffix", [".m4a", ".aac", ".mp4", ".wma", ".webm", ".raw", ".gsm", ".vox", ".txt"])
def test_unsupported_format_names_the_supported_and_ffmpeg(tmp_path, reader, suffix):
    path = tmp_path / f"a b{suffix}"
    path.write_bytes(b"\0\0\0 ftypM4A \0\0\0\0" + bytes(range(256)) * 40)
    message = fails(ValueError, path, f"{suffix} is not supported; supported are .wav, .flac", reader, path)
    assert message.endswith(f"ffmpeg -i '{path}' '{tmp_path / 'a b.wav'}'")


@READERS
def test_a_format_which_cannot_seek_is_unsupported(tmp_path, reader):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(8000), 8000, "GSM610")
    fails(ValueError, path, "is no audio", reader, path)


@READERS
@pytest.mark.parametrize(("suffix", "position"), [("wav", 22), ("aiff", 20)])
def test_zero_channels_in_the_header(tmp_path, reader, suffix, position):
    path = save(tmp_path / f"a.{suffix}", tone(100))
    content = bytearray(path.read_bytes())
    if suffix == "aiff":
        position = content.index(b"COMM") + 8
    content[position : position + 2] = b"\0\0"
    path.write_bytes(content)
    fails(ValueError, path, "has zero channels", reader, path)


def cut(path, size):
    content = path.read_bytes()
    path.write_bytes(content[:size])
    return path


@READERS
@pytest.mark.parametrize("suffix", ["wav", "aiff", "ogg", "mp3"])
@pytest.mark.parametrize("part", [0.01, 0.3, 0.9, 0.9999])
def test_truncation_which_is_cheap_to_see(tmp_path, reader, suffix, part):
    path = save(tmp_path / f"a.{suffix}", tone(3 * RATE))
    cut(path, int(part * path.stat().st_size))
    fails(ValueError, path, "is cut short", reader, path)


@pytest.mark.parametrize("part", [0.05, 0.5, 0.999])
def test_truncated_flac_fails_in_a_full_read(tmp_path, part):
    path = save(tmp_path / "a.flac", tone(3 * RATE))
    cut(path, int(part * path.stat().st_size))
    fails(ValueError, path, "is cut short or damaged, only .* samples could be decoded from 0 s on", audio.read, path)


def test_damaged_flac(tmp_path):
    path = save(tmp_path / "a.flac", tone(3 * RATE))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 50] = bytes(50)
    path.write_bytes(content)
    fails(ValueError, path, "is cut short or damaged", audio.read, path)


@READERS
def test_flac_of_unknown_length(tmp_path, reader):
    path = save(tmp_path / "a.flac", tone(RATE))
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    fails(ValueError, path, "does not say how long it is; .* ffmpeg -i", reader, path)


def test_mp3_which_ends_early_without_saying_so(tmp_path):
    path = save(tmp_path / "a.mp3", tone(3 * RATE))
    content = bytearray(path.read_bytes())
    content[content.index(b"Xing") + 7] &= ~2  # the tag still has the number of samples, but not of bytes
    path.write_bytes(content[: len(content) // 2])
    fails(ValueError, path, "is cut short or damaged, only", audio.read, path)


def test_mp3_without_length_tag_is_read(tmp_path):
    path = tmp_path / "a.mp3"
    with soundfile.SoundFile(path, "w", RATE, 1, bitrate_mode="CONSTANT", compression_level=0.3) as file:
        file.write(tone(3 * RATE, 1).T.numpy())
    content = path.read_bytes()
    path.write_bytes(content[content.index(content[:2], 10) :])
    assert abs(audio.read(path)[0].shape[1] - 3 * RATE) < 3 * 1152


def test_mp3_after_an_id3_tag(tmp_path):
    path = save(tmp_path / "a.mp3", tone(RATE))
    content = path.read_bytes()
    tag = b"ID3\x04\0\0\0\0\x02\x00" + bytes(256)
    path.write_bytes(tag + content + b"TAG" + bytes(125))
    assert audio.read(path)[0].shape == (2, RATE)
    path.write_bytes(tag + content[:-50])
    fails(ValueError, path, "is cut short", audio.probe, path)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000])
def test_wav_from_a_pipe_is_read(tmp_path, size):
    path = save(tmp_path / "a.wav", tone(1000))
    content = bytearray(path.read_bytes())
    content[40:44] = struct.pack("<I", size)
    path.write_bytes(content)
    assert audio.read(path)[0].shape == (2, 1000)


def test_wav_with_odd_chunks_before_the_samples(tmp_path):
    path = save(tmp_path / "a.wav", tone(1000))
    content = path.read_bytes()
    extra = b"LIST" + struct.pack("<I", 5) + b"abcde\0"
    whole = content[:4] + struct.pack("<I", len(content) + len(extra) - 8) + content[8:36] + extra + content[36:]
    path.write_bytes(whole)
    assert audio.read(path)[0].shape == (2, 1000)
    path.write_bytes(whole[:-1])
    fails(ValueError, path, "is cut short", audio.probe, path)


def test_truncated_rf64(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(1000).T.numpy(), RATE, "PCM_16", format="RF64")
    assert audio.read(path)[0].shape == (2, 1000)
    cut(path, path.stat().st_size - 1)
    fails(ValueError, path, "is cut short", audio.read, path)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_samples_which_are_not_finite(tmp_path, value):
    waveform = tone(2 * RATE)
    waveform[1, 70_000] = waveform[0, 70_001] = value
    path = save(tmp_path / "a.wav", waveform, subtype="FLOAT")
    fails(ValueError, path, "2 samples are NaN or infinite, the first at 1.587 s", audio.read, path)
    fails(ValueError, path, "2 samples are NaN or infinite, the first at 1.587 s", audio.read, path, offset=1.5)
    assert audio.read(path, duration=1.5)[0].isfinite().all()


def test_more_samples_than_memory(tmp_path, monkeypatch):
    path = save(tmp_path / "a.wav", tone(1000))

    def refuse(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory\nand more")

    monkeypatch.setattr(torch, "empty", refuse)
    fails(MemoryError, path, "needs 0.0 GB of memory; read parts", audio.read, path)


def test_a_line_break_in_the_name_does_not_break_the_message(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist") as caught:
        audio.read(tmp_path / "a\nb.wav")
    assert "\n" not in str(caught.value)
