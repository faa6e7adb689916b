"""Sums over delays and over the terms of the Fourier series of the phase kernel."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["KERNEL_POWER", "DelayGrid", "DelayMatrix", "delay_basis"]

# The kernel ((1 + cos x) / 2)^16 falls to a half at 0.42 rad, about the phase deviation of bins with several sources.
KERNEL_POWER = 16


class DelayMatrix:
    """Sums over any delays, and over the terms of the kernel's Fourier series, by products with their phase factors."""

    def __init__(self, delays: Float[Tensor, " D"], bins: int, n_fft: int) -> None:
        self._basis = delay_basis(torch.arange(bins, device=delays.device), delays, n_fft)

    def harmonics(self, weights: Float[Tensor, "B 2 D"]) -> Float[Tensor, "B 2 F H"]:
        """The terms of the sum of the kernels of weighted delays."""
        return (weights @ self._basis.flatten(0, 1).T).unflatten(-1, self._basis.shape[:2])

    def delays(self, moments: Float[Tensor, "B 2 F H"]) -> Float[Tensor, "B 2 D"]:
        """The response at each delay of given terms."""
        return moments.flatten(-2) @ self._basis.flatten(0, 1)


class DelayGrid:
    """The same for the points of a grid, by FFT: the phase of harmonic n at bin f and point k is a multiple of nfk."""

    def __init__(self, delays: Float[Tensor, " D"], bins: int, n_fft: int, resolution: int) -> None:
        self._length = n_fft * resolution
        self._point = (delays * resolution).round().long() % self._length
        order = torch.arange(KERNEL_POWER + 1, device=delays.device)
        self._frequency = (torch.arange(bins, device=delays.device)[:, None] * order) % self._length

    def harmonics(self, weights: Tensor) -> Tensor:
        """See :class:`DelayMatrix`."""
        spread = weights.new_zeros(*weights.shape[:-1], self._length).index_add(-1, self._point, weights)
        terms = torch.fft.fft(spread)[..., self._frequency]
        return torch.cat((terms.real, terms.imag), -1)

    def delays(self, moments: Tensor) -> Tensor:
        """See :class:`DelayMatrix`."""
        terms = torch.complex(*moments.chunk(2, -1)).flatten(-2)
        total = terms.new_zeros(*terms.shape[:-1], self._length).index_add(-1, self._frequency.flatten(), terms)
        response: Tensor = torch.fft.ifft(total, norm="forward").real[..., self._point]
        return response


def delay_basis(frequency: Tensor, delays: Float[Tensor, " D"], n_fft: int) -> Float[Tensor, "F H D"]:
    """The phase factors of the terms of the kernel's Fourier series: all cosines, then all sines."""
    angles = (-2 * math.pi / n_fft) * frequency.double()[:, None] * delays.double()
    basis = angles.new_empty(len(angles), 2, KERNEL_POWER + 1, angles.shape[1])
    cosine, sine = basis.unbind(1)
    cosine[:, 0], sine[:, 0] = 1.0, 0.0
    cosine[:, 1], sine[:, 1] = angles.cos(), angles.sin()
    # The number of harmonics is doubled by angle addition, which is faster than cosines and sines.
    for count in (2**power for power in range(round(math.log2(KERNEL_POWER)))):
        low, high = slice(1, count + 1), slice(count + 1, 2 * count + 1)
        by = slice(count, count + 1)
        cosine[:, high] = cosine[:, low] * cosine[:, by] - sine[:, low] * sine[:, by]
        sine[:, high] = sine[:, low] * cosine[:, by] + cosine[:, low] * sine[:, by]
    return basis.flatten(1, 2)
