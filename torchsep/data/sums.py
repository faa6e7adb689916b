"""Sums of audio files, of which only a part is read."""

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from torchsep import audio
from torchsep.data.index import Header

__all__ = ["common_header", "read_sums"]

_MARGIN = 100  # samples at the lower rate: resampling looks at fewer on either side


def common_header(
    known: Mapping[Path, Header | OSError | ValueError], files: Sequence[Path], channels: int | None
) -> Header:
    """What the headers of the files of one recording agree on, with the channels that its items have.

    Args:
        known: the header of each file, or why it cannot be read.
        files: those of the recording.
        channels: those wanted, or None for as many as there are.

    Raises:
        OSError: if a file is missing.
        ValueError: if a file is damaged, differs from the first in rate or length, or cannot be given the channels.
    """
    found: list[Header] = []
    for path in files:
        header = known[path]
        if not isinstance(header, Header):
            raise header
        found.append(header)
    wanted = channels or max(header.channels for header in found)
    first = found[0]
    for path, header in zip(files, found, strict=True):
        if header.rate != first.rate:
            raise ValueError(f"{path}: must have the {first.rate} Hz of {files[0].name}, got {header.rate} Hz")
        if header.frames != first.frames:
            raise ValueError(f"{path}: must have the {first.frames} samples of {files[0].name}, got {header.frames}")
        if wanted != 1 and header.channels not in {1, wanted}:
            raise ValueError(f"{path}: must have {wanted} channels or one, got {header.channels}")
    return Header(first.frames, first.rate, wanted)


def read_sums(
    rows: Sequence[Sequence[Path]], header: Header, start: int, length: int, sample_rate: int | None = None
) -> Tensor:
    """The sum of the files of each row from a sample on, ``(rows, C, T)``; a row without files is silent.

    Each file is read once, and only where it is wanted. At another sample rate, the part is what it is in the whole
    resampled recording.

    Args:
        rows: for each sum its files.
        header: what they agree on.
        start: sample at which to begin, at the rate of the files.
        length: samples of the sums, at their own rate; where the files end before, they end in silence.
        sample_rate: of the sums in Hz; that of the files if None.

    Raises:
        OSError: if a file is missing.
        ValueError: if a file is damaged, or no longer what its header said.
    """
    rate, wanted = header.rate, sample_rate or header.rate
    old, new = rate // math.gcd(rate, wanted), wanted // math.gcd(rate, wanted)
    needed = -(-length * old // new)
    # Whole periods of both rates, so that the samples of the part lie where resampling puts them.
    margin = 0 if old == new else old * math.ceil(_MARGIN * max(1.0, old / new) / old)
    before = min(margin, start // old * old)
    begin, end = start - before, min(start + needed + margin, header.frames)
    sums = torch.zeros(len(rows), header.channels, end - begin)
    for path in dict.fromkeys(chain(*rows)):
        waveform = _read(path, header, begin, end)
        for row, total in zip(rows, sums, strict=True):
            if path in row:
                total[:, : waveform.shape[-1]] += waveform
    return _fitted(audio.resample(sums, rate, wanted)[..., before * new // old :], length)


def _read(path: Path, header: Header, begin: int, end: int) -> Tensor:
    """Part of a file, with its channels repeated, or their mean."""
    waveform, rate = audio.read(path, begin / header.rate, (end - begin) / header.rate)
    if rate != header.rate or (header.channels != 1 and len(waveform) not in {1, header.channels}):
        raise ValueError(f"{path}: has changed, {len(waveform)} channels at {rate} Hz; make the data set again")
    return waveform.mean(0, keepdim=True) if header.channels == 1 else waveform


def _fitted(waveforms: Tensor, length: int) -> Tensor:
    """Cut, or followed by silence."""
    missing = length - waveforms.shape[-1]
    return torch.nn.functional.pad(waveforms, (0, missing)) if missing > 0 else waveforms[..., :length].contiguous()
