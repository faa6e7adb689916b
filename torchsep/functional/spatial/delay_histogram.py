"""Histograms of interchannel phase, and the delays between two channels estimated from them."""

import math

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from torchsep.functional.spatial._delay_sums import KERNEL_POWER, DelayGrid, DelayMatrix, delay_basis

__all__ = [
    "delay_weights",
    "histogram_peaks",
    "phase_histogram",
    "phase_kernel",
    "smoothed_histogram",
    "steered_response",
]


_PHASES = 64  # phase bins of a histogram: far finer than the kernel

_BLOCK = 1 << 21  # elements of a basis in memory at a time

_TIE = 1e-6  # relative difference below which heights are equal


def phase_kernel(cosine: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """The agreement of two phases, from 0 to 1, given the cosine of their difference.

    Args:
        cosine: cosine of the phase difference.

    Example:
        >>> phase_kernel(torch.tensor([1.0, 0.9, 0.0])).round(decimals=3)
        tensor([1.0000, 0.4400, 0.0000])
    """
    agreed = (1 + cosine) / 2
    for _ in range(round(math.log2(KERNEL_POWER))):
        agreed = agreed.square()
    return agreed


def phase_histogram(
    cross: Complex[Tensor, "B F N"],
    weights: Float[Tensor, "B F N"],
    level: Float[Tensor, "B F N"] | None = None,
    num_levels: int = 1,
) -> Float[Tensor, "B A F P"]:
    """The histogram over levels and phases in each frequency bin, in float64.

    The weight of a bin is distributed linearly to the two nearest levels and phases, so the result is continuous.

    Args:
        cross: complex numbers, whose phases are counted.
        weights: non-negative weight of each bin.
        level: position of each bin on the level axis, whose centres are 0 to ``num_levels - 1``.
        num_levels: number ``A`` of levels.

    Shape:
        The ``P`` phases are evenly spaced from zero.

    Gradient:
        Exact; that of the phase of a zero is zero.

    Example:
        >>> cross = torch.tensor([[[1j, 1.0 + 0j]]])
        >>> histogram = phase_histogram(cross, torch.tensor([[[2.0, 3.0]]]))
        >>> histogram[0, 0, 0, [0, 16]].round().tolist()
        [3.0, 2.0]
    """
    batch, bins, _ = cross.shape
    weights = weights.double()
    angle = cross.masked_fill(cross == 0, 1.0).angle()
    phase = (angle.double() * (_PHASES / (2 * math.pi))).nan_to_num().remainder(_PHASES)
    phases, phase_weights = _neighbours(phase, weights)
    position = torch.zeros_like(phase) if level is None else level.double().nan_to_num().clamp(0, num_levels - 1)
    levels, level_weights = _neighbours(position, torch.ones_like(position))
    frequency = torch.arange(bins, device=cross.device)[:, None]
    histogram = weights.new_zeros(batch, num_levels * bins * _PHASES)
    for row, row_weight in zip(levels, level_weights, strict=True):
        for column, weight in zip(phases, phase_weights, strict=True):
            index = (row.clamp(max=num_levels - 1) * bins + frequency) * _PHASES + column % _PHASES
            histogram.scatter_add_(1, index.flatten(1), (row_weight * weight).flatten(1))
    return histogram.view(batch, num_levels, bins, _PHASES)


def steered_response(
    histogram: Float[Tensor, "*any F P"], delays: Float[Tensor, " D"], n_fft: int
) -> Float[Tensor, "*any D"]:
    r"""The steered response of each delay: its agreement with the phases, summed over all frequencies.

    .. math::
        h(\delta) = \sum_{f, p} H_{fp}\, k(\varphi_p + 2 \pi f \delta / L)

    with the kernel :math:`k` of :func:`phase_kernel`. Beyond the spatial aliasing limit a phase is consistent with
    several delays; only the true one agrees at all frequencies.

    Args:
        histogram: histogram of the phase lead of the second channel.
        delays: delays of the second channel, in samples.
        n_fft: length :math:`L` of the transform.

    Example:
        >>> histogram = phase_histogram(torch.ones(1, 5, 1) * 1j ** torch.arange(5)[:, None], torch.ones(1, 5, 1))
        >>> steered_response(histogram, torch.tensor([-2.0, 0.0, 2.0]), n_fft=8).argmax().item()
        0
    """
    return _steered_responses(histogram, delays, n_fft)[0]


def _steered_responses(
    histogram: Float[Tensor, "*any F P"], delays: Float[Tensor, " D"], n_fft: int
) -> tuple[Float[Tensor, "*any D"], Float[Tensor, "*any D"]]:
    """The steered responses for channels of equal and of opposite polarity.

    Opposite polarity is a shift of the phase by half a turn, which negates odd harmonics of the kernel.
    """
    moments = (histogram @ _harmonics(_phase_axis(histogram)).T).unflatten(-1, (2, -1))
    even = odd = 0.0 * moments[..., 0, 0, :1]
    bins = histogram.shape[-2]
    together = max(1, _BLOCK // (2 * (KERNEL_POWER + 1) * len(delays)))
    for first in range(0, bins, together):
        part = slice(first, min(first + together, bins))
        basis = delay_basis(torch.arange(part.start, part.stop, device=delays.device), delays, n_fft)
        basis = basis.unflatten(1, (2, -1))
        of_even, of_odd = (
            moments[..., part, :, parity::2].flatten(-3) @ basis[:, :, parity::2].flatten(0, 2) for parity in (0, 1)
        )
        even, odd = even + of_even, odd + of_odd
    return even + odd, even - odd


def delay_weights(
    histogram: Float[Tensor, "B F P"],
    delays: Float[Tensor, " D"],
    n_fft: int,
    num_iterations: int = 30,
    outliers: float = 0.05,
    resolution: int | None = None,
) -> Float[Tensor, "B 2 D"]:
    """The maximum-likelihood weights of a mixture model of delays, with either polarity, given the phases.

    The weights are estimated by EM, initialised with equal values. They stay equal for an empty histogram.

    Args:
        histogram: histogram of the phase lead of the second channel.
        delays: delays of the second channel, in samples.
        n_fft: length of the transform.
        num_iterations: number of EM iterations.
        outliers: proportion of outliers, uniform in phase.
        resolution: number of steps of a grid per sample of which all delays are points; then sums over delays are
            computed by FFT, whose cost does not grow with their number.

    Gradient:
        Exact, through all iterations.

    Shape:
        The first row is for channels of equal polarity, the second for channels of opposite polarity.

    Example:
        >>> phases = 1j ** torch.arange(5)[:, None]
        >>> histogram = phase_histogram(torch.ones(1, 5, 1) * phases, torch.ones(1, 5, 1))[:, 0]
        >>> delay_weights(histogram, torch.tensor([-2.0, 0.0, 2.0]), n_fft=8)[0].round(decimals=2)
        tensor([[1., 0., 0.],
                [0., 0., 0.]], dtype=torch.float64)
    """
    bins = histogram.shape[-2]
    basis: DelayGrid | DelayMatrix
    basis = DelayMatrix(delays, bins, n_fft) if resolution is None else DelayGrid(delays, bins, n_fft, resolution)
    harmonics = _harmonics(_phase_axis(histogram))
    signs = 1.0 - 2.0 * (torch.arange(KERNEL_POWER + 1, dtype=torch.float64, device=delays.device) % 2)
    signs = torch.stack((torch.ones_like(signs), signs)).repeat(1, 2)  # a shift by pi negates odd harmonics
    mean = harmonics[0].mean()  # mean of the kernel over all phases, which normalises it to a density
    weights = histogram.new_full((len(histogram), 2, len(delays)), 0.5 / len(delays))
    for _ in range(num_iterations):
        expected = (basis.harmonics(weights) * signs[:, None]).sum(1) @ harmonics
        density = (1 - outliers) * expected / mean + outliers
        moments = (histogram / density) @ harmonics.T
        agreed = basis.delays(moments[:, None] * signs[:, None])
        weighed = weights * agreed.clamp(min=0)
        total = weighed.sum((-2, -1), keepdim=True)
        weights = torch.where(total > 0, weighed / total.masked_fill(total == 0, 1.0), weights)
    return weights


def smoothed_histogram(
    histogram: Float[Tensor, "B A F P"], delays: Float[Tensor, " D"], n_fft: int
) -> Float[Tensor, "B A D"]:
    """The histogram over levels and delays, smoothed over delays by the phase kernel and over levels by a Gaussian.

    Args:
        histogram: weights over level differences, frequency bins and phase differences, of :func:`phase_histogram`.
        delays: delays at which the histogram is evaluated, in samples.
        n_fft: length of the Fourier transform, in samples.

    Example:
        >>> histogram = phase_histogram(torch.ones(1, 5, 1) + 0j, torch.ones(1, 5, 1), torch.zeros(1, 5, 1), 3)
        >>> heights = smoothed_histogram(histogram, torch.tensor([-2.0, 0.0, 2.0]), n_fft=8)
        >>> (heights[0] / heights.max()).float().round(decimals=1)
        tensor([[0.4000, 1.0000, 0.4000],
                [0.2000, 0.6000, 0.2000],
                [0.1000, 0.1000, 0.1000]])
    """
    return _smoothed_over_levels(steered_response(histogram, delays, n_fft))


def _smoothed_over_levels(response: Float[Tensor, "B A D"]) -> Float[Tensor, "B A D"]:
    rows = torch.arange(response.shape[1], dtype=torch.float64, device=response.device)
    return _gaussian(rows[:, None] - rows, 1.0) @ response.clamp(min=0)


@torch.no_grad()
def histogram_peaks(
    histogram: Float[Tensor, "B A F P"],
    delays: Float[Tensor, " D"],
    n_fft: int,
    num_peaks: int,
    distances: tuple[int, int],
    *,
    inverted: bool = False,
) -> tuple[Int[Tensor, "B K"], Int[Tensor, "B K"], Float[Tensor, "B K"]]:
    """The levels, delays and heights of the highest peaks of the smoothed histogram, in decreasing order.

    Each peak is the maximum of the residual after the values explained by the previous peaks, those of similar level
    and delay, are removed. So the flanks of a strong source do not mask a weaker one.

    Args:
        histogram: histogram over levels and phases.
        delays: candidate delays, in samples.
        n_fft: length of the transform.
        num_peaks: number of peaks; missing ones have height zero.
        distances: number of levels and of delays; two peaks of one polarity are further apart in at least one.
        inverted: whether peaks of opposite polarity are found too; their levels are numbered from ``A`` on.

    Example:
        >>> histogram = phase_histogram(torch.ones(1, 5, 1) + 0j, torch.ones(1, 5, 1), torch.zeros(1, 5, 1), 3)
        >>> histogram_peaks(histogram, torch.tensor([-2.0, 0.0, 2.0]), 8, num_peaks=1, distances=(1, 1))[:2]
        (tensor([[0]]), tensor([[1]]))
    """
    batch, levels, bins, phases = histogram.shape
    polarities = (1, -1) if inverted else (1,)
    signs = torch.tensor(polarities, device=delays.device)
    rows, columns = (torch.arange(size, device=delays.device) for size in (levels, len(delays)))
    frequency = torch.arange(bins, dtype=torch.float64, device=delays.device)[:, None] / n_fft
    phase = torch.arange(phases, dtype=torch.float64, device=delays.device) / phases
    # Ties up to rounding, as around a source between two grid points, are resolved to the first.
    shape = (len(polarities), levels, len(delays))
    order = 1 - _TIE * torch.linspace(0, 1, math.prod(shape), dtype=torch.float64, device=delays.device)
    taken = torch.zeros(batch, *shape, dtype=torch.bool, device=delays.device)
    found = []
    for number in range(num_peaks):
        responses = _steered_responses(histogram, delays, n_fft)[: len(polarities)]
        heights = torch.stack([_smoothed_over_levels(response) for response in responses], 1)
        heights = heights.masked_fill(taken, 0.0).flatten(1)
        index = (heights * order).argmax(1)
        height = heights.gather(1, index[:, None])[:, 0]
        row, column = index // len(delays), index % len(delays)
        found.append((row, column, height))
        if number + 1 == num_peaks:
            break
        sign, row = signs[row // levels][:, None], row % levels
        near = (rows - row[:, None]).abs() <= distances[0]
        near = near[:, :, None] & ((columns - column[:, None]).abs() <= distances[1])[:, None]
        taken = taken | ((signs == sign)[:, :, None, None] & near[:, None])
        cosine = (2 * math.pi * (phase + frequency * delays[column][:, None, None])).cos()
        agreed = phase_kernel(sign[..., None] * cosine)
        explained = _gaussian((rows - row[:, None]).double(), max(1, distances[0]) / 2)
        histogram = histogram * (1 - explained[:, :, None, None] * agreed[:, None]) ** 4
    row, column, height = (torch.stack(values, 1) for values in zip(*found, strict=True))
    return row, column, height


def _gaussian(distance: Tensor, width: float) -> Tensor:
    return (-0.5 * (distance / width).square()).exp()


def _neighbours(position: Tensor, weights: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The two nearest integer positions and their weights by linear interpolation."""
    below = position.floor()
    above = weights * (position - below)
    index = below.long()
    return (index, index + 1), (weights - above, above)


def _phase_axis(histogram: Tensor) -> Float[Tensor, " P"]:
    return torch.arange(_PHASES, dtype=torch.float64, device=histogram.device) * (2 * math.pi / _PHASES)


def _harmonics(phase: Float[Tensor, " P"]) -> Float[Tensor, "H P"]:
    """The terms of the kernel's Fourier series at phases: all cosines, then all sines."""
    order = torch.arange(KERNEL_POWER + 1, dtype=torch.float64, device=phase.device)
    series = [
        math.comb(2 * KERNEL_POWER, KERNEL_POWER + n) * (1 if n == 0 else 2) / 4**KERNEL_POWER
        for n in range(KERNEL_POWER + 1)
    ]
    angles = order[:, None] * phase
    return torch.cat((angles.cos(), angles.sin())) * phase.new_tensor(series).repeat(2)[:, None]
