"""Levels of recordings where they sound."""

import math
from pathlib import Path

import torch

from torchsep import audio

__all__ = ["active_level"]

_FRAME = 0.05  # seconds
_RANGE_DB = 40.0  # below the loudest frame
_WHOLE = 16.0  # seconds; of longer recordings, as much is read in parts
_PARTS = 32


def active_level(path: Path) -> float:
    """The RMS of a recording over its active frames: those of 50 ms that are within 40 dB of the loudest.

    Of recordings longer than 16 s, 32 parts of 0.5 s are read, evenly spaced.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is damaged.
    """
    duration = audio.probe(path).duration
    if duration <= _WHOLE:
        parts = [audio.read(path)]
    else:
        length = _WHOLE / _PARTS
        parts = [audio.read(path, (duration - length) * number / (_PARTS - 1), length) for number in range(_PARTS)]
    powers = []
    for waveform, rate in parts:
        size = max(1, min(waveform.shape[1], round(_FRAME * rate)))
        frames = waveform[:, : waveform.shape[1] // size * size].double().unflatten(1, (-1, size))
        powers.append(frames.square().mean((0, 2)))
    power = torch.cat(powers)
    return math.sqrt(power[power >= power.max() * 10 ** (-_RANGE_DB / 10)].mean().item())
