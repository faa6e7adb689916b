r"""Least-squares projection of signals onto delayed references.

Correlations are computed from spectra of short blocks in double precision, so that long recordings need neither long
transforms nor much memory.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional.linalg.block_toeplitz import solve_block_toeplitz

__all__ = ["DistortionFilters", "correlations", "distortion_filters", "fast_length"]

# Minimum FFT size of a block.
_MIN_SIZE = 1 << 12

# Maximum number of transform samples in memory at once.
_MAX_SAMPLES = 1 << 20


class DistortionFilters(NamedTuple):
    """Least-squares filters from sources to estimates.

    Args:
        own: filters from the channels of one source to those of an estimate.
        every: filters from all channels of all sources.
    """

    own: Float[Tensor, "*any C C L"]
    every: Float[Tensor, "*any S C M L"]


def correlations(
    first: Float[Tensor, "*any I T"], second: Float[Tensor, "*any J T"], num_lags: int
) -> Float[Tensor, "*any I J L"]:
    r"""Cross-correlations :math:`\sum_t x_{it}\, y_{j,t+k}` at lags k from 0 to ``num_lags - 1``.

    Example:
        >>> correlations(torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[0.0, 3.0, 1.0]]), 2).round()
        tensor([[[6., 5.]]], dtype=torch.float64)
    """
    length, reach = first.shape[-1], num_lags - 1
    size = fast_length(min(max(_MIN_SIZE, 8 * num_lags), length + reach))
    block = size - reach
    blocks = math.ceil(length / block)
    padded_first = torch.nn.functional.pad(first, (0, blocks * block - length))
    padded_second = torch.nn.functional.pad(second, (0, blocks * block - length + reach))
    shorter, wider = padded_first.unfold(-1, block, block), padded_second.unfold(-1, size, block)
    chunk = max(1, _MAX_SAMPLES // (size * (first[..., 0].numel() + second[..., 0].numel())))
    spectrum = first.new_zeros(*first.shape[:-1], second.shape[-2], size // 2 + 1, dtype=torch.complex128)
    for begin in range(0, blocks, chunk):
        some = slice(begin, begin + chunk)
        own = torch.fft.rfft(shorter[..., some, :].double(), size).conj_physical_()
        other = torch.fft.rfft(wider[..., some, :].double(), size)
        for x, y in zip(own.unbind(-2), other.unbind(-2), strict=True):
            spectrum.addcmul_(x[..., :, None, :], y[..., None, :, :])
    return torch.fft.irfft(spectrum, size)[..., :num_lags]


def distortion_filters(
    sources: Float[Tensor, "*any S C T"], estimates: Float[Tensor, "*any S C T"], num_taps: int, *, pairs: bool
) -> DistortionFilters:
    r"""Least-squares filters that approximate each estimate from one source, or from all sources.

    Args:
        sources: reference signals.
        estimates: signals to approximate.
        num_taps: length L of the filters.
        pairs: whether filters are computed from each source to every estimate, ``(..., S, S, C, C, L)`` with the
            sources first, or only to the estimate of the same index, ``(..., S, C, C, L)``.
    """
    count, channels = sources.shape[-3:-1]
    references, targets = sources.flatten(-3, -2), estimates.flatten(-3, -2)
    signals = torch.cat((references, targets.to(references.dtype)), -2)
    auto, cross = correlations(references, signals, num_taps).split(count * channels, -2)
    every = solve_block_toeplitz(auto, cross).unflatten(-3, (count, channels))
    own_auto = _diagonal_blocks(auto, count, channels)
    if pairs:
        own = solve_block_toeplitz(own_auto, cross.unflatten(-3, (count, channels)))
        return DistortionFilters(own.unflatten(-3, (count, channels)), every)
    return DistortionFilters(solve_block_toeplitz(own_auto, _diagonal_blocks(cross, count, channels)), every)


def _diagonal_blocks(matrix: Float[Tensor, "*any M N L"], count: int, channels: int) -> Float[Tensor, "*any S C C L"]:
    """Diagonal blocks: correlations between channels of the same source."""
    blocks = matrix.unflatten(-2, (count, channels)).unflatten(-4, (count, channels))
    return blocks.diagonal(dim1=-5, dim2=-3).movedim(-1, -4)


def fast_length(length: int) -> int:
    """Smallest even FFT size of at least ``length`` that is a power of two times 8 to 15.

    Example:
        >>> fast_length(44611)
        45056
    """
    step = max(2, 1 << max(0, length.bit_length() - 4))
    return math.ceil(length / step) * step
