"""Locations of sources in stereo mixtures: the attenuation and the delay of the second channel."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from torchsep.functional._custom_ops import operator

__all__ = ["refine_locations"]

# Steps of delays per sample, and of attenuations per octave. As results are rounded, they do not depend on the last
# digits of a mixture, and masks have the gradient for fixed locations.
_STEPS_PER_SAMPLE = 16
_STEPS_PER_OCTAVE = 64


class _Bins(NamedTuple):
    """The powers of the two channels of each bin, and their cross-spectrum; the loudest bin has a power of about 1."""

    first: Float[Tensor, "B F N"]
    second: Float[Tensor, "B F N"]
    cross: Complex[Tensor, "B F N"]


def refine_locations(
    spectrogram: Complex[Tensor, "B 2 F N"],
    attenuation: Float[Tensor, "B S"],
    delay: Float[Tensor, "B S"],
    delay_range: tuple[float, float],
    max_rounds: int = 10,
) -> tuple[Float[Tensor, "B S"], Float[Tensor, "B S"]]:
    r"""The maximum-likelihood locations of sources, by alternation from initial ones.

    Each bin is assigned to the source :math:`s` with the smallest error

    .. math::
        \frac{|a_s e^{-j \omega \delta_s} X_1 - X_2|^2}{1 + a_s^2}

    as in :func:`likelihood_masks`. Then the delay of a source is that of the maximum of the cross-correlation of its
    bins, and its attenuation minimises the sum of their errors, rounded to a 16th of a sample and a 64th of an
    octave. But for the rounding, neither step increases the sum of all errors.

    Args:
        spectrogram: spectrogram of two channels.
        attenuation: initial amplitude ratios :math:`a_s` of the second to the first channel; negative for opposite
            polarity, which is kept, and NaN for a source that is not there.
        delay: initial delays :math:`\delta_s` of the second channel, in samples.
        delay_range: minimum and maximum of a delay.
        max_rounds: maximum number of rounds; they end when no bin changes its source.

    Gradient:
        None.

    Example:
        >>> first = torch.ones(1, 9, 1) + 0j
        >>> second = 0.5 * torch.polar(torch.ones(9), -2 * torch.pi / 16 * torch.arange(9.0))[None, :, None]
        >>> spectrogram = torch.stack((first, second), 1)
        >>> start = torch.tensor([[0.8, torch.nan]]), torch.tensor([[0.5, torch.nan]])
        >>> [values.round(decimals=2) for values in refine_locations(spectrogram, *start, delay_range=(-3.0, 3.0))]
        [tensor([[0.5000,    nan]]), tensor([[1., nan]])]
    """
    low, high = map(float, delay_range)
    refined = _refine_locations(spectrogram.detach(), attenuation, delay, low, high, max_rounds)
    return refined[0], refined[1]


@operator(lambda spectrogram, attenuation, *_: attenuation.new_empty(2, *attenuation.shape))  # noqa: ARG005
def _refine_locations(
    spectrogram: Tensor, attenuation: Tensor, delay: Tensor, low: float, high: float, max_rounds: int
) -> Tensor:
    peak = spectrogram.abs().amax((1, 2, 3))[:, None, None]
    first, second = (spectrogram / peak.masked_fill(peak == 0, 1.0)[:, None]).unbind(1)
    own, other = (channel.real.square() + channel.imag.square() for channel in (first, second))
    bins = _Bins(own, other, second * first.conj())
    assigned: Tensor | None = None
    for _ in range(max_rounds):
        previous, assigned = assigned, _nearest(bins, attenuation, delay)
        if previous is not None and assigned.equal(previous):
            break
        attenuation, delay = _fitted(bins, assigned, attenuation, delay, (low, high))
    return torch.stack((attenuation, delay))


def _nearest(bins: _Bins, attenuation: Float[Tensor, "B S"], delay: Float[Tensor, "B S"]) -> Int[Tensor, "B F N"]:
    """The source of least error for each bin."""
    count = bins.cross.shape[1]
    omega = torch.arange(count, dtype=delay.dtype, device=delay.device) * (math.pi / max(1, count - 1))
    smallest = torch.full_like(bins.first, torch.inf)
    assigned = torch.zeros_like(bins.first, dtype=torch.long)
    for source, (factor, lag) in enumerate(zip(attenuation.T, delay.T, strict=True)):
        # The error without the terms that are the same for all sources, |X_2|^2 less what the source explains.
        weight = (1 + factor.square()).reciprocal()
        angle = omega * lag[:, None]
        cosine, sine = ((2 * weight * factor)[:, None] * values for values in (angle.cos(), angle.sin()))
        levels = (weight * factor.square(), weight)
        cosine, sine = (values[..., None].to(bins.first) for values in (cosine, sine))
        one, other = (values[:, None, None].to(bins.first) for values in levels)
        error = one * bins.first + other * bins.second - cosine * bins.cross.real + sine * bins.cross.imag
        smaller = error < smallest
        smallest = torch.where(smaller, error, smallest)
        assigned = torch.where(smaller, source, assigned)
    return assigned


def _fitted(
    bins: _Bins, assigned: Int[Tensor, "B F N"], attenuation: Tensor, delay: Tensor, delay_range: tuple[float, float]
) -> tuple[Float[Tensor, "B S"], Float[Tensor, "B S"]]:
    """The locations that minimise the errors of the bins of each source; those of a source without bins are kept."""
    sources = range(attenuation.shape[1])
    own = [assigned == source for source in sources]
    first, second = (
        torch.stack([power.masked_fill(~mine, 0.0).sum((1, 2)) for mine in own], 1).to(attenuation)
        for power in (bins.first, bins.second)
    )
    cross = torch.stack([bins.cross.masked_fill(~mine, 0.0).sum(-1) for mine in own], 1)
    polarity = torch.where(attenuation < 0, -1.0, 1.0)
    lag, correlation = _maximum(cross * polarity[..., None].to(cross), delay_range)
    correlation = correlation.to(attenuation)
    # The minimum of (a^2 E_1 + E_2 - 2 a R) / (1 + a^2) over a.
    difference = (second - first) / 2
    ratio = (difference + (difference.square() + correlation.square()).sqrt()) / correlation
    ratio = 2 ** ((ratio.log2() * _STEPS_PER_OCTAVE).round() / _STEPS_PER_OCTAVE)
    is_found = (correlation > 0) & ratio.isfinite() & (ratio > 0) & ~attenuation.isnan()
    return torch.where(is_found, polarity * ratio, attenuation), torch.where(is_found, lag.to(delay), delay)


def _maximum(
    cross: Complex[Tensor, "B S F"], delay_range: tuple[float, float]
) -> tuple[Float[Tensor, "B S"], Float[Tensor, "B S"]]:
    """The delay of the maximum of the cross-correlation, and its height."""
    length = 2 * max(1, cross.shape[-1] - 1) * _STEPS_PER_SAMPLE
    # Only half of the spectrum is summed, so the correlation is the real part of a one-sided transform.
    correlation = torch.fft.ifft(cross, n=length, norm="forward").real
    low, high = (round(min(max(bound * _STEPS_PER_SAMPLE, -length // 2), length // 2 - 1)) for bound in delay_range)
    offsets = torch.arange(low, high + 1, device=cross.device)
    height, index = correlation[..., offsets % length].max(-1)
    return (offsets[index] / _STEPS_PER_SAMPLE).clamp(*delay_range), height
