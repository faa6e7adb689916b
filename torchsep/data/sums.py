"""Reading sums of excerpts of audio files."""

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from torchsep import audio
from torchsep.data.index import Header

__all__ = ["common_header", "read_sums"]

_MARGIN = 100  # samples at the lower rate, more than the support of the resampling filter


def common_header(
    known: Mapping[Path, Header | OSError | ValueError], files: Sequence[Path], channels: int | None
) -> Header:
    """Common header of the files of a recording, with the number of channels of its items.

    Args:
        known: header of each file, or the error that prevents reading it.
        files: files of the recording.
        channels: number of channels of the items, or None for that of the files.

    Raises:
        OSError: if a file is missing.
        ValueError: if a file is damaged, differs from the first in sample rate or length, or has an incompatible number
            of channels.
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
    """Sum of an excerpt of the files of each row, ``(rows, C, T)``; a row without files is silent.

    Each file is read once, and only the excerpt. Resampled excerpts equal those of the resampled recording.

    Args:
        rows: files of each sum.
        header: common header of the files.
        start: start sample at the sample rate of the files.
        length: length of the sums in samples at their sample rate; shorter files are zero-padded.
        sample_rate: sample rate of the sums in Hz; that of the files if None.

    Raises:
        OSError: if a file is missing.
        ValueError: if a file is damaged, or has changed since its header was read.
    """
    rate, wanted = header.rate, sample_rate or header.rate
    old, new = rate // math.gcd(rate, wanted), wanted // math.gcd(rate, wanted)
    needed = -(-length * old // new)
    # A multiple of the period of both rates keeps the excerpt on the sampling grid of the resampled recording.
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
    """Read an excerpt of a file, averaged to a single channel if the header has one."""
    waveform, rate = audio.read(path, begin / header.rate, (end - begin) / header.rate)
    if rate != header.rate or (header.channels != 1 and len(waveform) not in {1, header.channels}):
        raise ValueError(f"{path}: has changed, {len(waveform)} channels at {rate} Hz; construct the data set again")
    return waveform.mean(0, keepdim=True) if header.channels == 1 else waveform


def _fitted(waveforms: Tensor, length: int) -> Tensor:
    """Truncate or zero-pad to a length in samples."""
    missing = length - waveforms.shape[-1]
    return torch.nn.functional.pad(waveforms, (0, missing)) if missing > 0 else waveforms[..., :length].contiguous()
