"""Excerpts of audio files and their encoding for a page."""

import base64
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from torchsep import audio
from torchsep.report.items import Track

__all__ = [
    "AudioFormat",
    "Excerpt",
    "Excerpts",
    "audio_uri",
    "estimate_page_size",
    "lossless_if_small",
    "read_excerpts",
]

AudioFormat: TypeAlias = Literal["flac", "mp3"]

_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_MAX_CHANNELS = 2
SIZE_LIMIT = 25e6  # bytes of a page; larger ones are slow to send and to open
_FLAC_RATIO = 0.7  # of 16-bit PCM; music takes 0.5 to 0.75
_PICTURE_BYTES = 15e3  # of a spectrogram before base64; that of the mixture has twice the columns
_BASE64 = 4 / 3


@dataclass(frozen=True)
class Excerpt:
    """Start of a track, with ``waveform (C, T)``."""

    track: Track
    waveform: Tensor
    sample_rate: int


@dataclass(frozen=True)
class Excerpts:
    """Excerpts of an item with a common duration in seconds, the gain applied to all, and read errors."""

    excerpts: tuple[Excerpt, ...]
    duration: float
    is_whole: bool
    gain: float
    errors: tuple[str, ...]


def read_excerpts(tracks: Sequence[Track], seconds: float = 0.0) -> Excerpts:
    """Read the start of each track, zero-padded to a common duration.

    If a sample is above full scale, all tracks are scaled by the same gain, so that their levels remain comparable.

    Args:
        tracks: tracks of an item.
        seconds: maximum duration of excerpts in seconds; whole tracks if zero.
    """
    read: list[Excerpt] = []
    errors: list[str] = []
    is_whole = True
    for track in tracks:
        try:
            waveform, rate = audio.read(track.path, duration=seconds or None)
            is_whole = is_whole and waveform.shape[1] == audio.probe(track.path).num_samples
        except (OSError, ValueError, MemoryError) as error:
            errors.append(str(error))
        else:
            read.append(Excerpt(track, waveform, rate))
    duration = max((excerpt.waveform.shape[1] / excerpt.sample_rate for excerpt in read), default=0.0)
    peak = max((float(excerpt.waveform.abs().max()) for excerpt in read), default=0.0)
    gain = 1 / max(1.0, peak)
    fitted = tuple(replace(excerpt, waveform=_fitted(excerpt, duration, gain)) for excerpt in read)
    return Excerpts(fitted, duration, is_whole, gain, tuple(errors))


def _fitted(excerpt: Excerpt, duration: float, gain: float) -> Tensor:
    """The waveform zero-padded to a duration in seconds, times a gain."""
    missing = round(duration * excerpt.sample_rate) - excerpt.waveform.shape[1]
    return torch.nn.functional.pad(excerpt.waveform, (0, max(0, missing))) * gain


def estimate_page_size(tracks: Sequence[Track], seconds: float = 0.0, *, masks: bool = False) -> float:
    """Estimated size in bytes of a page with the tracks in FLAC, from their headers alone.

    Tracks that cannot be read count as nothing.

    Args:
        tracks: all tracks of the page.
        seconds: maximum duration of each track in seconds; whole tracks if zero.
        masks: whether the page also shows a mask of each estimate.
    """
    total = 0.0
    for track in tracks:
        try:
            info = audio.probe(track.path)
        except (OSError, ValueError):
            continue
        samples = min(info.num_samples, seconds * info.sample_rate) if seconds else info.num_samples
        pictures = 2 if track.kind == "mixture" or masks else 1
        pcm = 2 * samples * min(info.channels, _MAX_CHANNELS)
        total += (pcm * _FLAC_RATIO + pictures * _PICTURE_BYTES) * _BASE64
    return total


def lossless_if_small(tracks: Sequence[Track], seconds: float = 0.0, *, masks: bool = False) -> AudioFormat:
    """``flac`` if the page of the tracks is estimated to stay below 25 MB, else ``mp3``.

    Args:
        tracks: as for :func:`estimate_page_size`.
        seconds: as for :func:`estimate_page_size`.
        masks: as for :func:`estimate_page_size`.
    """
    return "flac" if estimate_page_size(tracks, seconds, masks=masks) < SIZE_LIMIT else "mp3"


def audio_uri(excerpt: Excerpt, format_: AudioFormat) -> str:
    """Encode an excerpt as a ``data:`` URI, with at most the first two channels.

    Args:
        excerpt: excerpt within full scale.
        format_: ``flac`` with 16 bits, or ``mp3`` at the next higher supported sample rate.

    Example:
        >>> excerpt = Excerpt(Track(Path("a.wav"), "file", "a"), torch.zeros(1, 800), 8000)
        >>> audio_uri(excerpt, "flac")[:27]
        'data:audio/flac;base64,Zkxh'
    """
    waveform, rate = excerpt.waveform[:_MAX_CHANNELS], excerpt.sample_rate
    subtype = "PCM_16"
    if format_ == "mp3":
        subtype = "MPEG_LAYER_III"
        allowed = next((known for known in _MP3_RATES if known >= rate), _MP3_RATES[-1])
        waveform, rate = audio.resample(waveform, rate, allowed), allowed
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"excerpt.{format_}"
        audio.write(path, waveform, rate, subtype)
        content = base64.b64encode(path.read_bytes()).decode("ascii")
    return f"data:audio/{'mpeg' if format_ == 'mp3' else format_};base64,{content}"
