"""Recordings of one speaker made into utterances: trimmed, cut at pauses, joined, and all equally loud."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import soundfile
import torch
from torch import Generator, Tensor
from torchaudio.functional import highpass_biquad

from torchsep import audio

RATE = 8000
LEVEL = 10 ** (-25 / 20)  # root mean square of an utterance, relative to full scale
PEAK = 0.9  # the most that an utterance reaches
FLOOR = 10 ** (-38 / 10)  # power, relative to the loudest frame, below which there is nothing to hear
FRAME, HOP = 160, 80  # samples: 20 ms every 10 ms
MARGIN = 0.03  # seconds kept before and after what is heard
PAUSE = 0.3  # seconds of a pause that is cut out
SHORTEST, LONGEST = 0.15, 4.0  # seconds of a piece
ENOUGH, REMAINDER = 2.0, 1.0  # seconds of an utterance, and of one that is kept at the end
FADE = 0.01  # seconds by which pieces overlap


def read(path: Path) -> tuple[Tensor, tuple[int, int]]:
    """The samples of a recording at 8 kHz in one channel, (samples,), and its own rate and number of channels.

    What is below speech in frequency is taken out. Packages hold files without a header or an end mark, which
    ``audio.read`` refuses: these are read as far as they go.

    Raises:
        ValueError: if it is no recording, or an empty one.
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
    """What is heard of a recording, in pieces of at most 4 s."""
    powers = _powers(waveform)
    heard = (powers > FLOOR * powers.max()).nonzero()[:, 0] if len(powers) else powers
    if not len(heard):
        return
    starts = torch.cat([heard[:1], heard[1:][heard.diff() > PAUSE * RATE / HOP]])
    ends = torch.cat([heard[:-1][heard.diff() > PAUSE * RATE / HOP], heard[-1:]])
    margin = round(MARGIN * RATE)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        piece = waveform[max(0, start * HOP - margin) : end * HOP + FRAME + margin]
        yield from (part for part in _at_most(piece, LONGEST) if len(part) >= SHORTEST * RATE)


def utterances(parts: Iterable[Tensor], generator: Generator) -> Iterator[Tensor]:
    """The pieces of one speaker in random order, joined until there are 2 to 4 s; each is used once.

    There is less where the next piece would make it more than 4 s; of what remains, less than a second is left out.
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
    """The median fundamental frequency of what is voiced in Hz, from 70 to 400 Hz; 0 where nothing is."""
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
    """A piece cut where it is softest, until no part is longer."""
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
