"""Active speech level by method B of ITU-T P.56."""

import torch
from torch import Tensor
from torchaudio.functional import fftconvolve

SMOOTHING = 0.03  # time constant in seconds of each of the two averages of the envelope
HANGOVER = 0.2  # duration in seconds for which speech remains active after its envelope has fallen
MARGIN = 15.9  # dB between the active level and the activity threshold
THRESHOLDS = 30  # each half of the previous one
PADDING = 0.35  # seconds of silence appended for the hangover
LOW_STOP = 79.6  # frequency in Hz with 25 dB attenuation of the high-pass filter, which is flat above 200 Hz


def active_power(waveform: Tensor, sample_rate: int) -> float:
    """Mean power of active speech above 200 Hz, excluding pauses longer than 0.2 s.

    The activity threshold is 15.9 dB below the active level, which itself depends on the threshold; both are found
    jointly. The upper band limit of the recommendation has no effect at 8 kHz.

    Args:
        waveform: samples ``(T,)``.
        sample_rate: sample rate in Hz, below 11 kHz.

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
    smeared = torch.nn.functional.max_pool1d(torch.nn.functional.pad(envelope, (hangover, 0))[None], hangover + 1, 1)[0]
    thresholds = envelope.max() * 0.5 ** torch.arange(1, THRESHOLDS + 1, dtype=torch.float64)
    counts = torch.stack([(smeared >= threshold).sum() for threshold in thresholds])
    levels, lines = 10 * (energy / counts).log10(), 20 * thresholds.log10()
    # With lower thresholds more samples are active, so the level falls, but more slowly than the threshold.
    above = levels - lines - MARGIN
    below = int((above < 0).sum())
    if below in {0, THRESHOLDS}:
        return float(energy / counts[min(below, THRESHOLDS - 1)])
    fraction = above[below - 1] / (above[below - 1] - above[below])
    level = torch.lerp(levels[below - 1], levels[below], fraction)
    return float(10 ** (level / 10))


def _high_pass(waveform: Tensor, sample_rate: int) -> Tensor:
    """High-pass filter at 200 Hz: zero-phase type II Chebyshev response of fifth order."""
    spectrum = torch.fft.rfft(waveform, 2 * len(waveform))
    frequencies = torch.fft.rfftfreq(2 * len(waveform), 1 / sample_rate, dtype=torch.float64)
    ratio = frequencies / LOW_STOP
    ripple = (16 * ratio**5 - 20 * ratio**3 + 5 * ratio).square() / (10**2.5 - 1)
    return torch.fft.irfft(spectrum * (ripple / (1 + ripple)).sqrt())[: len(waveform)]


def _envelope(waveform: Tensor, sample_rate: int) -> Tensor:
    """Magnitude smoothed by two exponential averages."""
    decay = torch.tensor(-1 / (SMOOTHING * sample_rate), dtype=torch.float64).exp()
    steps = torch.arange(round(1.0 * sample_rate), dtype=torch.float64)  # the response decays within a second
    kernel = (1 - decay) ** 2 * (steps + 1) * decay**steps
    return fftconvolve(waveform.abs(), kernel)[: len(waveform)].clamp_min(0)
