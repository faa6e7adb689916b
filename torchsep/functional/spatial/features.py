"""Spatial features: interchannel level and time differences of time-frequency bins."""

from itertools import combinations

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from torchsep.functional.magnitude import magnitude
from torchsep.functional.spatial._floor import above_noise_floor
from torchsep.functional.spatial.delay_histogram import delay_weights, phase_histogram, phase_kernel

__all__ = ["level_difference", "spatial_features", "symmetric_attenuation", "unit_cross"]

_RESOLUTION = 4  # number of candidate delays per sample
_MODES = 16  # number of delays in the mixture model

# Minimum standard deviations for standardisation: smaller differences are no cue and are not amplified.
_LEAST_LEVEL_SPREAD = 4.0  # dB
_LEAST_DELAY_SPREAD = 1.0  # samples
_LARGEST_LEVEL = 12.0  # dB, soft limit of level differences
_LEAST_AGREEMENT = 1e-4  # of a bin's phase with every delay


def unit_cross(first: Complex[Tensor, "*any"], second: Complex[Tensor, "*any"]) -> Complex[Tensor, "*any"]:
    """The phase lead of the second of two channels, as unit complex numbers; zero where a channel is silent.

    Args:
        first: spectrogram of the first channel.
        second: spectrogram of the second channel.

    Gradient:
        Exact; zero where a channel is silent.

    Example:
        >>> unit_cross(torch.tensor([2.0 + 0j, 0j]), torch.tensor([3j, 1.0 + 0j]))
        tensor([0.+1.j, 0.+0.j])
    """
    return _unit(second) * _unit(first).conj()


def symmetric_attenuation(first: Float[Tensor, "*any"], second: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    r"""The symmetric attenuation of the second of two channels, :math:`a - 1 / a` with :math:`a = |X_2| / |X_1|`.

    Exchanging the channels changes the sign. It is zero for two silent channels, and infinite for one.

    Args:
        first: magnitudes :math:`|X_1|`.
        second: magnitudes :math:`|X_2|`.

    Example:
        >>> symmetric_attenuation(torch.tensor([1.0, 2.0, 0.0]), torch.tensor([2.0, 1.0, 0.0]))
        tensor([ 1.5000, -1.5000,  0.0000])
    """
    return (second / first - first / second).nan_to_num(0.0, torch.inf, -torch.inf)


def level_difference(
    first: Float[Tensor, "*any"], second: Float[Tensor, "*any"], largest: float = _LARGEST_LEVEL
) -> Float[Tensor, "*any"]:
    """The level difference in dB of the second to the first of two channels, with a soft limit.

    Args:
        first: power of the first channel.
        second: power of the second channel.
        largest: limit in dB.

    Gradient:
        Exact; zero where both channels are silent.

    Example:
        >>> level_difference(torch.tensor([1.0, 1.0, 0.0]), torch.tensor([2.0, 0.0, 0.0]))
        tensor([  2.9481, -11.9695,   0.0000])
    """
    total = first + second
    silent = total == 0
    total = total.masked_fill(silent, 1.0)
    floor = 1e-4  # relative to the power; far beyond the limit
    decibels = 10 * ((second / total + floor) / (first / total + floor)).log10()
    return largest * (decibels / largest).tanh()


def spatial_features(spectrogram: Complex[Tensor, "B C F N"], max_delay: float) -> Float[Tensor, "B 1 F N D"]:
    """The spatial features of each bin, for every pair of channels: level difference, and delay as cosine and sine.

    A phase difference depends on frequency and, beyond the spatial aliasing limit, is consistent with several delays.
    Therefore a mixture model of delays, including channels of opposite polarity, is first fitted to the phases of all
    bins. The delay of a bin is the mean over the model's delays, weighted by their agreement with its phase. It is
    represented by the cosine and sine of an angle proportional to the delay, relative to the spread of all delays; for
    opposite polarity both are negated. The features thus do not depend on frequency.

    Channels 70 dB below the loudest one count as silent. Levels and delays are standardised with bins weighted by
    power; the standard deviation has a lower bound.

    Args:
        spectrogram: spectrogram of at least two channels.
        max_delay: maximum delay between two channels, in samples; limited to half of the transform's length.

    Gradient:
        Exact, with the choice of the most likely delays held fixed.

    Example:
        >>> spectrogram = torch.ones(1, 2, 5, 1) * torch.tensor([1.0, 0.5])[:, None, None] + 0j
        >>> spatial_features(spectrogram, max_delay=2.0).shape
        torch.Size([1, 1, 5, 1, 3])

    References:
        Shoko Araki, Hiroshi Sawada, Ryo Mukai, Shoji Makino: "Underdetermined blind sparse source separation for
        arbitrarily arranged multiple sensors", Signal Processing, 2007; Charles Blandin, Alexey Ozerov, Emmanuel
        Vincent: "Multi-source TDOA estimation in reverberant audio using angular spectra and clustering", Signal
        Processing, 2012.
    """
    batch, channels, bins, frames = spectrogram.shape
    one, other = zip(*combinations(range(channels), 2), strict=True)
    peak = magnitude(spectrogram.detach()).amax((1, 2, 3), keepdim=True)
    scaled = spectrogram / peak.masked_fill(peak == 0, 1.0)  # avoids underflow of the power
    scaled = above_noise_floor(scaled)
    first, second = (scaled[:, list(numbers)].flatten(0, 1) for numbers in (one, other))
    own, others = (channel.real.square() + channel.imag.square() for channel in (first, second))
    power = own + others
    total = power.sum((-2, -1), keepdim=True)
    weights = power / total.masked_fill(total == 0, 1.0)
    level = _standardised(level_difference(own, others), weights, _LEAST_LEVEL_SPREAD)
    angles = _delay_angles(unit_cross(first, second), first.abs() * second.abs(), max_delay)
    features = torch.stack((level, *angles), -1)
    joined = features.unflatten(0, (batch, -1)).movedim(1, -2).flatten(-2)
    return joined.reshape(batch, 1, bins, frames, -1)


def _delay_angles(
    cross: Complex[Tensor, "P F N"], power: Float[Tensor, "P F N"], max_delay: float
) -> tuple[Float[Tensor, "P F N"], Float[Tensor, "P F N"]]:
    """The cosine and sine of the angle that represents each bin's delay."""
    bins = cross.shape[-2]
    n_fft = 2 * (bins - 1)
    delays, signs, weights, centre, spread = _modes(cross, power, n_fft, max_delay)
    angles = ((delays - centre) * (0.8 / spread)).clamp(-torch.pi / 2, torch.pi / 2)
    targets = [(signs * values).to(power) for values in (angles.cos(), angles.sin())]
    omega = torch.arange(bins, dtype=torch.float64, device=cross.device)[:, None] * (2 * torch.pi / n_fft)
    weights, floors = weights.to(power), _LEAST_AGREEMENT * weights.to(power)
    totals = [torch.zeros_like(power) for _ in range(3)]
    for mode in range(delays.shape[1]):
        angle = omega * delays[:, mode, None, None]
        rotation = torch.polar(torch.ones_like(angle), angle)
        cosine = (cross * rotation.to(cross.dtype)).real * signs[:, mode, None, None].to(power)
        posterior = weights[:, mode, None, None] * phase_kernel(cosine) + floors[:, mode, None, None]
        for number, target in enumerate([*targets, torch.ones_like(weights)]):
            totals[number] = totals[number] + posterior * target[:, mode, None, None]
    return totals[0] / totals[2], totals[1] / totals[2]


def _modes(
    cross: Complex[Tensor, "P F N"], power: Float[Tensor, "P F N"], n_fft: int, max_delay: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The most likely delays ``(P, K)``, their signs and weights, and the mean and standard deviation of all."""
    steps = max(1, round(min(max_delay, n_fft / 2) * _RESOLUTION))
    delays = torch.arange(-steps, steps + 1, dtype=torch.float64, device=cross.device) / _RESOLUTION
    inner = torch.arange(power.shape[1], device=power.device)[:, None]
    power = power.where((inner > 0) & (inner < power.shape[1] - 1), 0.0)  # real bins have no phase
    histogram = phase_histogram(cross, power)[:, 0]
    total = histogram.sum((-2, -1), keepdim=True)
    weights = delay_weights(histogram / total.masked_fill(total == 0, 1.0), delays, n_fft, resolution=_RESOLUTION)
    either = weights.sum(1)
    centre = (either * delays).sum(-1, keepdim=True)
    variance = (either * (delays - centre).square()).sum(-1, keepdim=True)
    spread = variance.clamp(min=_LEAST_DELAY_SPREAD**2).sqrt()
    chosen, index = weights.flatten(1).topk(min(_MODES, 2 * len(delays)))
    numbers: Int[Tensor, "P K"] = index % len(delays)
    return delays[numbers], 1.0 - 2.0 * (index >= len(delays)), chosen, centre, spread


def _unit(values: Complex[Tensor, "*any"]) -> Complex[Tensor, "*any"]:
    """Unit complex numbers with the same phases; zero for zero."""
    length = values.abs()
    silent = length == 0
    return values.masked_fill(silent, 0.0) / length.masked_fill(silent, 1.0)


def _standardised(
    values: Float[Tensor, "P F N"], weights: Float[Tensor, "P F N"], least: float
) -> Float[Tensor, "P F N"]:
    """Values minus their weighted mean, divided by their standard deviation, at least ``least``."""
    centred = values - (weights * values).sum((-2, -1), keepdim=True)
    variance = (weights * centred.square()).sum((-2, -1), keepdim=True)
    return centred / variance.clamp(min=least**2).sqrt()
