"""Damaged files: whatever their headers say, one line says that they are damaged, without memory for what they say."""

import random
import struct

import pytest
import soundfile
import torch
from audio_files import tone

from torchsep import audio

LIES = (0, 1, 2**16, 2**30, 2**31 - 1, 2**32 - 1)


def damaged(content, seed):
    """A file with bytes changed, lengths replaced, or parts missing."""
    generator = random.Random(seed)  # noqa: S311 - to damage files
    content = bytearray(content)
    start = generator.randrange(min(len(content) - 8, 120))
    if seed % 4 == 0:
        for _ in range(generator.randint(1, 4)):
            content[generator.randrange(120)] = generator.randrange(256)
    elif seed % 4 == 1:
        content[start : start + 4] = struct.pack(generator.choice("<>") + "I", generator.choice(LIES))
    elif seed % 4 == 2:
        start = generator.randrange(len(content))
        del content[start : start + generator.randrange(2000)]
    else:
        start = generator.randrange(len(content))
        content[start : start + 8] = generator.randbytes(8)
    return bytes(content)


def outcome(path, function):
    """None if a call succeeds; the message of its error."""
    try:
        function(path)
    except (ValueError, OSError) as error:
        return str(error)
    return None


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["mp3", "wav", "flac", "ogg", "aiff", "caf", "au", "w64"])
def test_damage_is_one_line(tmp_path, monkeypatch, suffix):
    def limited(*shape):
        assert torch.Size(shape).numel() <= 2**31, "memory that no such file needs"
        return empty(*shape)

    empty = torch.empty
    monkeypatch.setattr(torch, "empty", limited)
    soundfile.write(tmp_path / f"good.{suffix}", tone(16000).T.numpy(), 16000)
    content = (tmp_path / f"good.{suffix}").read_bytes()
    path = tmp_path / f"bad.{suffix}"
    messages = []
    for seed in range(200):
        path.write_bytes(damaged(content, seed))
        functions = (audio.probe, audio.read, lambda path: audio.read(path, 0.1, 0.2), exhaust)
        messages += [outcome(path, function) for function in functions]
    said = [message for message in messages if message is not None]
    assert said
    assert all(message.startswith(f"{path}: ") and "\n" not in message for message in said)
    assert not [message for message in said if "dimensions" in message or "GB" in message]


def exhaust(path):
    for _ in audio.read_blocks(path):
        pass


@pytest.mark.parametrize("suffix", ["mp3", "flac"])
def test_a_length_that_the_file_cannot_hold(tmp_path, suffix):
    path = tmp_path / f"long.{suffix}"
    soundfile.write(path, tone(16000).T.numpy(), 16000)
    content = bytearray(path.read_bytes())
    if suffix == "flac":  # 36 bits of the number of samples
        content[22:26] = b"\xff\xff\xff\xff"
    else:
        at = max(content.find(b"Xing"), content.find(b"Info")) + 8
        content[at : at + 4] = struct.pack(">I", 2**31 - 1)
    path.write_bytes(content)
    for function in (audio.probe, audio.read, exhaust):
        message = outcome(path, function)
        assert message is not None
        assert f"more than its {len(content)} bytes can hold; its header is damaged" in message


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3", "wav"])
def test_silence_is_not_damage(tmp_path, suffix):
    path = tmp_path / f"silence.{suffix}"
    audio.write(path, torch.zeros(1, 3 * 10**6), 8000)
    assert audio.read(path)[0].shape == (1, 3 * 10**6)


@pytest.mark.parametrize("size", [2000, 5000])
def test_an_mp3_with_a_hole_is_read_in_part(tmp_path, size):
    """Some seeks behind a hole end behind the end of the file."""
    path = tmp_path / "hole.mp3"
    soundfile.write(path, 0.1 * torch.randn(160000, 2).numpy(), 16000)
    content = path.read_bytes()
    for start in range(700, len(content), len(content) // 60):
        path.write_bytes(content[:start] + bytes(size) + content[start + size :])
        message = outcome(path, lambda path: audio.read(path, 6.0))
        assert message is None or message.startswith(f"{path}: ")
