"""The level of speech while it is heard, by method B of ITU-T P.56."""

import torch
from torch import Tensor
from torchaudio.functional import fftconvolve

SMOOTHING = 0.03  # seconds: time constant of each of the two averages that make the envelope
HANGOVER = 0.2  # seconds for which speech counts as heard after its envelope has fallen
MARGIN = 15.9  # dB between the level and the threshold above which speech is heard
THRESHOLDS = 30  # each half of the one before
PADDING = 0.35  # seconds of silence after the end, for the hangover
LOW_STOP = 79.6  # Hz, where the high-pass filter has fallen by 25 dB; it is flat from 200 Hz on


def active_power(waveform: Tensor, sample_rate: int) -> float:
    """The mean power of what is heard; pauses longer than 0.2 s do not count, nor does what is below 200 Hz.

    The threshold above which speech is heard follows from the level and the level from the threshold: it is the one
    that is 15.9 dB below the level. Of 8 kHz nothing is lost at the upper end, where the recommendation also filters.

    Args:
        waveform: samples (samples,).
        sample_rate: in Hz, below 11 kHz.

    Returns:
        The power, zero for silence.

    References:
        ITU-T Recommendation P.56: "Objective measurement of active speech level", 2011.
    """
    padded = torch.nn.functional.pad(waveform.double(), (0, round(PADDING * sample_rate)))
    speech = _high_pass(padded, sample_rate)
    energy = speech.square().sum()
    envelope = _envelope(speech, sample_rate)
    if not envelope.max() > 0:
        return 0.0
    hangover = round(HANGOVER * sample_rate)
    held = torch.nn.functional.max_pool1d(torch.nn.functional.pad(envelope, (hangover, 0))[None], hangover + 1, 1)[0]
    thresholds = envelope.max() * 0.5 ** torch.arange(1, THRESHOLDS + 1, dtype=torch.float64)
    counts = torch.stack([(held >= threshold).sum() for threshold in thresholds])
    levels, lines = 10 * (energy / counts).log10(), 20 * thresholds.log10()
    # Lower thresholds count more as heard: the level falls, but less than the threshold does.
    above = levels - lines - MARGIN
    below = int((above < 0).sum())
    if below in {0, THRESHOLDS}:
        return float(energy / counts[min(below, THRESHOLDS - 1)])
    share = above[below - 1] / (above[below - 1] - above[below])
    level = torch.lerp(levels[below - 1], levels[below], share)
    return float(10 ** (level / 10))


def _high_pass(waveform: Tensor, sample_rate: int) -> Tensor:
    """What is above 200 Hz: a Chebyshev filter of the second kind and fifth order, without its phase."""
    spectrum = torch.fft.rfft(waveform, 2 * len(waveform))
    frequencies = torch.fft.rfftfreq(2 * len(waveform), 1 / sample_rate, dtype=torch.float64)
    place = frequencies / LOW_STOP
    ripple = (16 * place**5 - 20 * place**3 + 5 * place).square() / (10**2.5 - 1)
    return torch.fft.irfft(spectrum * (ripple / (1 + ripple)).sqrt())[: len(waveform)]


def _envelope(waveform: Tensor, sample_rate: int) -> Tensor:
    """Magnitudes averaged twice."""
    decay = torch.tensor(-1 / (SMOOTHING * sample_rate), dtype=torch.float64).exp()
    steps = torch.arange(round(1.0 * sample_rate), dtype=torch.float64)  # after a second nothing is left
    kernel = (1 - decay) ** 2 * (steps + 1) * decay**steps
    return fftconvolve(waveform.abs(), kernel)[: len(waveform)].clamp_min(0)
