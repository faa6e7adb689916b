"""Mel filters and mel-frequency cepstral coefficients (MFCCs)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_integer, check_number

__all__ = ["N_MELS", "mel_filters", "mfcc", "normalized_mfcc"]

N_MELS = 128

# The mel scale: linear up to a corner frequency, logarithmic above it.
_HZ_PER_MEL = 200 / 3
_CORNER_HZ = 1000.0
_MELS_PER_LOG = 27 / math.log(6.4)

# Dynamic range of the mel bands of a spectrum, in dB.
_RANGE = 80.0


def mel_filters(
    num_bins: int,
    sample_rate: float,
    n_mels: int = N_MELS,
    min_frequency_hz: float = 0.0,
    max_frequency_hz: float | None = None,
) -> Float[Tensor, "M F"]:
    """Triangular filters evenly spaced on the mel scale, each with unit area over Hz, in float64 on the CPU.

    Args:
        num_bins: number of bins of spectra, from 0 Hz to half of the sample rate.
        sample_rate: sample rate in Hz.
        n_mels: number of filters. Filters narrower than the spacing of the bins may be zero.
        min_frequency_hz: lower edge of the first filter, in Hz.
        max_frequency_hz: upper edge of the last filter, in Hz; half of the sample rate if None.

    Example:
        >>> mel_filters(5, sample_rate=8000, n_mels=2).mul(1000).round(decimals=2)
        tensor([[0.0000, 0.8800, 0.0000, 0.0000, 0.0000],
                [0.0000, 0.1400, 0.5600, 0.2800, 0.0000]], dtype=torch.float64)

    References:
        M. Slaney, "Auditory Toolbox", Interval Research Corporation, Technical Report 1998-010, 1998.
    """
    check_integer(num_bins, "num_bins", at_least=2)
    check_integer(n_mels, "n_mels", at_least=1)
    check_number(min_frequency_hz, "min_frequency_hz", at_least=0.0)
    top = sample_rate / 2 if max_frequency_hz is None else max_frequency_hz
    check_number(top, "max_frequency_hz", above=min_frequency_hz)
    edges = torch.linspace(_mel(min_frequency_hz), _mel(top), n_mels + 2, dtype=torch.float64, device="cpu")
    corner = _CORNER_HZ / _HZ_PER_MEL
    linear = edges * _HZ_PER_MEL
    hertz = torch.where(edges < corner, linear, _CORNER_HZ * ((edges - corner) / _MELS_PER_LOG).exp())
    lower, centre, upper = hertz[:-2, None], hertz[1:-1, None], hertz[2:, None]
    bins = torch.linspace(0, sample_rate / 2, num_bins, dtype=torch.float64, device="cpu")
    rising, falling = (bins - lower) / (centre - lower), (upper - bins) / (upper - centre)
    return torch.minimum(rising, falling).clamp(min=0) * (2 / (upper - lower))


def mfcc(
    power: Float[Tensor, "*any F"], filters: Float[Tensor, "M F"], n_mfcc: int = 13
) -> Float[Tensor, "*any {n_mfcc}"]:
    r"""Mel-frequency cepstral coefficients: the cosine transform of the mel band levels in dB.

    .. math::
        c_k = \sqrt{\tfrac{2 - \delta_{k0}}{M}} \sum_{m=0}^{M-1} L_m \cos\frac{\pi k (2 m + 1)}{2 M}

    The first coefficients describe the spectral envelope without the fine structure, which depends on pitch.

    Args:
        power: power spectra. Levels are clipped to 80 dB below the loudest band of each spectrum.
        filters: filters of :func:`mel_filters`.
        n_mfcc: number of coefficients, at most the number of filters.

    Gradient:
        Exact; zero for silence.

    Example:
        >>> mfcc(torch.tensor([1.0, 4.0, 2.0, 1.0, 0.0]), mel_filters(5, 8000, n_mels=2), n_mfcc=2).round(decimals=2)
        tensor([111.3300,   1.8100])
    """
    check_integer(n_mfcc, "n_mfcc", at_least=1)
    bands = len(filters)
    if n_mfcc > bands:
        raise ValueError(f"n_mfcc must be at most the number of filters, {bands}, got {n_mfcc}")
    mel = power @ filters.to(power).mT
    loudest = mel.amax(-1, keepdim=True)
    relative = mel / loudest.masked_fill(loudest == 0, 1.0)
    level = _RANGE + 10 * relative.clamp(min=10 ** (-_RANGE / 10)).log10()
    order = torch.arange(n_mfcc, dtype=torch.float64, device=power.device)
    position = (torch.arange(bands, dtype=torch.float64, device=power.device) + 0.5) / bands
    cosines = (math.pi * position[:, None] * order).cos() * math.sqrt(2 / bands)
    cosines[:, 0] /= math.sqrt(2)
    return level @ cosines.to(power.dtype)


def normalized_mfcc(
    power: Float[Tensor, "*any F"], sample_rate: float, n_mfcc: int = 13
) -> Float[Tensor, "*any {n_mfcc}"]:
    """Mel-frequency cepstral coefficients, normalised to unit Euclidean norm.

    Args:
        power: power spectra, from 0 Hz to half of the sample rate.
        sample_rate: sample rate in Hz.
        n_mfcc: number of coefficients, at most 128.

    Gradient:
        Exact; zero for silence, whose coefficients are zero.

    Example:
        >>> normalized_mfcc(torch.tensor([4.0, 3.0, 2.0, 1.0]), sample_rate=8000, n_mfcc=3).round(decimals=2)
        tensor([ 0.7900, -0.5500, -0.2700])
    """
    coefficients = mfcc(power, mel_filters(power.shape[-1], sample_rate), n_mfcc)
    # Silence, and spectra without a bin within a filter, have no coefficients.
    silent = (coefficients.detach() == 0).all(-1, keepdim=True)
    length = torch.linalg.vector_norm(coefficients.masked_fill(silent, 1.0), dim=-1, keepdim=True)
    return (coefficients / length).masked_fill(silent, 0.0)


def _mel(hertz: float) -> float:
    """A frequency on the mel scale."""
    if hertz < _CORNER_HZ:
        return hertz / _HZ_PER_MEL
    return _CORNER_HZ / _HZ_PER_MEL + _MELS_PER_LOG * math.log(hertz / _CORNER_HZ)
