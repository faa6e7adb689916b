"""Spatial features: interchannel level and time differences of time-frequency bins."""

from collections.abc import Sequence
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
_LEAST_CORRELATION = 0.01  # of a cue over time
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


def spatial_features(
    spectrogram: Complex[Tensor, "B C F N"], max_delay: float, lag: int = 4
) -> Float[Tensor, "B 1 F N D"]:
    r"""The spatial features of each bin, for every pair of channels: level difference, and delay as cosine and sine.

    A phase difference :math:`\varphi` at a frequency :math:`\omega` is consistent with several delays beyond the
    spatial aliasing limit. Therefore a mixture model of delays, including channels of opposite polarity, is first
    fitted to the phases of all bins. Each of its delays :math:`\delta_k` predicts the bin's phase up to a residual,
    which corrects it to :math:`\delta_k - (\varphi + \omega \delta_k) / \omega`; the delay of a bin is the mean of
    these, weighted by the agreement of the model's delays with its phase. It is represented by the cosine and sine of
    an angle proportional to the delay, relative to the spread of all delays; for opposite polarity both are negated.
    The features thus do not depend on frequency.

    Channels 70 dB below the loudest one count as silent. Levels and delays are standardised with bins weighted by
    power; the standard deviation has a lower bound. Each cue is then weighted by its correlation between frames that do
    not overlap, relative to the larger one: a cue that tells the sources apart lasts as long as they sound, while the
    differences that overlapping sources cause do not.

    Args:
        spectrogram: spectrogram of at least two channels.
        max_delay: maximum delay between two channels, in samples; limited to half of the transform's length.
        lag: number of frames from one to the next that does not overlap it.

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
    cues = [level[:, None], torch.stack(angles, 1)]
    if frames > lag:
        cues = _weighted_by_correlation(cues, weights, lag)
    features = torch.cat(cues, 1).movedim(1, -1)
    joined = features.unflatten(0, (batch, -1)).movedim(1, -2).flatten(-2)
    return joined.reshape(batch, 1, bins, frames, -1)


def _weighted_by_correlation(
    cues: Sequence[Float[Tensor, "P d F N"]], weights: Float[Tensor, "P F N"], lag: int
) -> list[Float[Tensor, "P d F N"]]:
    """Cues, each multiplied by its correlation over a lag of frames relative to the largest."""
    silent = weights == 0
    amplitude = weights.masked_fill(silent, 1.0).sqrt().masked_fill(silent, 0.0)
    pairs = (amplitude[..., lag:] * amplitude[..., :-lag])[:, None]
    correlations = []
    for cue in cues:
        centred = cue - (weights[:, None] * cue).sum((-2, -1), keepdim=True)
        later, earlier = centred[..., lag:], centred[..., :-lag]
        product = (pairs * later * earlier).sum((1, 2, 3))
        energy = (pairs * (later.square() + earlier.square()) / 2).sum((1, 2, 3))
        correlations.append((product / energy.masked_fill(energy == 0, 1.0)).clamp(min=_LEAST_CORRELATION))
    largest = torch.stack(correlations).amax(0)
    return [
        cue * (correlation / largest)[:, None, None, None] for cue, correlation in zip(cues, correlations, strict=True)
    ]


def _delay_angles(
    cross: Complex[Tensor, "P F N"], power: Float[Tensor, "P F N"], max_delay: float
) -> tuple[Float[Tensor, "P F N"], Float[Tensor, "P F N"]]:
    """The cosine and sine of the angle that represents each bin's delay."""
    bins = cross.shape[-2]
    n_fft = 2 * (bins - 1)
    delays, signs, weights, centre, spread = _modes(cross, power, n_fft, max_delay)
    phase = cross.masked_fill(cross == 0, 1.0).angle()
    omega = torch.arange(bins, dtype=torch.float64, device=cross.device)[:, None] * (2 * torch.pi / n_fft)
    # The angle per residual phase; none in the first bin, which has no phase.
    per_phase = (0.8 / spread[..., None] / omega.masked_fill(omega == 0, torch.inf)).to(power)
    weights, floors = weights.to(power), _LEAST_AGREEMENT * weights.to(power)
    positions = ((delays - centre) * (0.8 / spread)).to(power)
    totals = [torch.zeros_like(power) for _ in range(3)]
    for mode in range(delays.shape[1]):
        sign = signs[:, mode, None, None].to(power)
        expected = omega * delays[:, mode, None, None] + torch.pi * (signs[:, mode, None, None] < 0)
        residual = (phase + expected.to(power) + torch.pi).remainder(2 * torch.pi) - torch.pi
        posterior = weights[:, mode, None, None] * phase_kernel(residual.cos()) + floors[:, mode, None, None]
        angle = (positions[:, mode, None, None] - per_phase * residual).clamp(-torch.pi / 2, torch.pi / 2)
        for number, target in enumerate((angle.cos(), angle.sin())):
            totals[number] = totals[number] + sign * posterior * target
        totals[2] = totals[2] + posterior
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
