"""Conversion of recordings of a speaker to utterances: trimming, splitting at pauses, joining and normalisation."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import soundfile
import torch
from torch import Generator, Tensor
from torchaudio.functional import highpass_biquad

from torchsep import audio

RATE = 8000
LEVEL = 10 ** (-25 / 20)  # RMS of an utterance relative to full scale
PEAK = 0.9  # maximum magnitude of an utterance
FLOOR = 10 ** (-38 / 10)  # power of silence relative to the loudest frame
FRAME, HOP = 160, 80  # samples: 20 ms every 10 ms
MARGIN = 0.03  # seconds kept before and after speech
PAUSE = 0.3  # minimum duration of removed pauses in seconds
SHORTEST, LONGEST = 0.15, 4.0  # minimum and maximum duration of a segment in seconds
ENOUGH, REMAINDER = 2.0, 1.0  # minimum duration of an utterance, and of the last one, in seconds
FADE = 0.01  # cross-fade of segments in seconds


def read(path: Path) -> tuple[Tensor, tuple[int, int]]:
    """Read a recording as ``(T,)`` at 8 kHz in one channel, with its original sample rate and number of channels.

    Frequencies below speech are removed. Some packages contain files without a complete header or end mark, which
    ``audio.read`` refuses; these are read as far as possible.

    Raises:
        ValueError: if the file is not a recording, or is empty.
    """
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{path}: cannot be read: {error.error_string}") from None
    if not len(samples):
        raise ValueError(f"{path}: holds no samples")
    waveform = torch.from_numpy(samples.T)
    mono = audio.resample(waveform.mean(0, keepdim=True), rate, RATE)
    return highpass_biquad(mono, RATE, 30.0)[0], (rate, len(waveform))


def pieces(waveform: Tensor) -> Iterator[Tensor]:
    """Non-silent segments of a recording of at most 4 s."""
    powers = _powers(waveform)
    active = (powers > FLOOR * powers.max()).nonzero()[:, 0] if len(powers) else powers
    if not len(active):
        return
    starts = torch.cat([active[:1], active[1:][active.diff() > PAUSE * RATE / HOP]])
    ends = torch.cat([active[:-1][active.diff() > PAUSE * RATE / HOP], active[-1:]])
    margin = round(MARGIN * RATE)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        piece = waveform[max(0, start * HOP - margin) : end * HOP + FRAME + margin]
        yield from (part for part in _at_most(piece, LONGEST) if len(part) >= SHORTEST * RATE)


def utterances(parts: Iterable[Tensor], generator: Generator) -> Iterator[Tensor]:
    """Utterances of 2 to 4 s, joined from the segments of a speaker in random order; each segment is used once.

    An utterance is shorter if the next segment would exceed 4 s. A remainder of less than a second is dropped.
    """
    parts = list(parts)
    joined: list[Tensor] = []
    length = 0
    for index in torch.randperm(len(parts), generator=generator).tolist():
        part = parts[index]
        if joined and length + len(part) > LONGEST * RATE:
            yield _joined(joined)
            joined, length = [], 0
        joined.append(part)
        length += len(part)
        if length >= ENOUGH * RATE:
            yield _joined(joined)
            joined, length = [], 0
    if length >= REMAINDER * RATE:
        yield _joined(joined)


def pitch(waveform: Tensor) -> float:
    """Median fundamental frequency of voiced frames in Hz, from 70 to 400 Hz; 0 if there are none."""
    if len(waveform) < 400:
        return 0.0
    frames = waveform.unfold(0, 400, 160)
    powers = frames.square().mean(1)
    frames = frames[powers > 0.1 * powers.max()]
    if not len(frames):
        return 0.0
    window = torch.hann_window(400)
    correlation = _autocorrelation((frames - frames.mean(1, keepdim=True)) * window) / _autocorrelation(window)
    height, lag = (correlation[:, 20:115] / correlation[:, :1]).max(1)
    voiced = lag[height > 0.7]
    return RATE / (20 + voiced.median().item()) if len(voiced) else 0.0


def _autocorrelation(frames: Tensor) -> Tensor:
    return torch.fft.irfft(torch.fft.rfft(frames, 1024).abs().square())


def _powers(waveform: Tensor) -> Tensor:
    return waveform.unfold(0, FRAME, HOP).square().mean(1) if len(waveform) >= FRAME else waveform[:0]


def _at_most(piece: Tensor, seconds: float) -> Iterator[Tensor]:
    """Split a segment at its softest positions into parts of a maximum duration."""
    longest = round(seconds * RATE)
    while len(piece) > longest:
        first = round(0.4 * longest) // HOP
        powers = _powers(piece[:longest])[first:]
        smooth = torch.nn.functional.avg_pool1d(powers[None], 5, 1, 2, count_include_pad=False)[0]
        cut = (first + int(smooth.argmin())) * HOP + FRAME // 2
        yield piece[:cut]
        piece = piece[cut:]
    yield piece


def _joined(parts: list[Tensor]) -> Tensor:
    """Pieces made equally loud, one after another with short cross-fades, (1, samples)."""
    fade = round(FADE * RATE)
    ramp = torch.linspace(0.0, torch.pi, fade + 2)[1:-1].cos().mul(-0.5).add(0.5)
    whole = _as_loud(parts[0])
    for part in map(_as_loud, parts[1:]):
        overlap = whole[-fade:] * ramp.flip(0) + part[:fade] * ramp
        whole = torch.cat([whole[:-fade], overlap, part[fade:]])
    whole = _as_loud(whole)
    return whole[None] * min(1.0, PEAK / whole.abs().max().item())


def _as_loud(waveform: Tensor) -> Tensor:
    return waveform * (LEVEL / waveform.square().mean().sqrt().clamp_min(torch.finfo(waveform.dtype).tiny))
