"""Audio files to test with."""

import math

import pytest
import soundfile
import torch

RATE = 44100
FORMATS = ("wav", "flac", "ogg", "mp3", "aiff")


def tone(samples=RATE, channels=2, seed=0):
    """A quiet tone in noise, different in each channel."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(samples) / RATE
    tones = torch.stack([0.5 * torch.sin(2 * math.pi * 440 * (channel + 1) * time) for channel in range(channels)])
    return tones + 0.01 * torch.rand(channels, samples, generator=generator)


def save(path, waveform, rate=RATE, subtype=None):
    """Write with soundfile, so that reading is not tested against the writer of the library."""
    soundfile.write(path, waveform.T.numpy(), rate, subtype)
    return path


def fails(kind, path, match, function, *args, **kwargs):
    """Check that a call raises one line which begins with the path and says what is expected."""
    with pytest.raises(kind, match=match) as caught:
        function(*args, **kwargs)
    message = str(caught.value)
    assert type(caught.value) is kind
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def paths_in(folder, suffix, sources=3):
    return [folder / f"{index}.{suffix}" for index in range(sources)]
