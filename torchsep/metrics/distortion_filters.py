r"""How much of a signal is what filters can make of others: projections onto delayed references.

Everything is computed from correlations and spectra of short blocks, in double precision, so that minutes of audio need
neither long transforms nor much room.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional.linalg.block_toeplitz import solve_block_toeplitz

__all__ = ["DistortionFilters", "correlations", "distortion_filters", "fast_length"]

# The shortest transform of a block.
_SHORTEST = 1 << 12

# Samples of transforms that are held together.
_TOGETHER = 1 << 20


class DistortionFilters(NamedTuple):
    """The filters that are nearest to estimates: ``own`` from one source, ``every`` from all of them.

    Args:
        own: from the channels of one source to those of an estimate.
        every: from all channels of all sources.
    """

    own: Float[Tensor, "*any C C L"]
    every: Float[Tensor, "*any S C M L"]


def correlations(
    first: Float[Tensor, "*any I T"], second: Float[Tensor, "*any J T"], num_lags: int
) -> Float[Tensor, "*any I J L"]:
    r"""The cross-correlations :math:`\sum_t x_{it}\, y_{j,t+k}` at lags k from 0 to ``num_lags - 1``.

    Example:
        >>> correlations(torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[0.0, 3.0, 1.0]]), 2).round()
        tensor([[[6., 5.]]], dtype=torch.float64)
    """
    length, reach = first.shape[-1], num_lags - 1
    size = fast_length(min(max(_SHORTEST, 8 * num_lags), length + reach))
    block = size - reach
    blocks = math.ceil(length / block)
    padded_first = torch.nn.functional.pad(first, (0, blocks * block - length))
    padded_second = torch.nn.functional.pad(second, (0, blocks * block - length + reach))
    shorter, wider = padded_first.unfold(-1, block, block), padded_second.unfold(-1, size, block)
    together = max(1, _TOGETHER // (size * (first[..., 0].numel() + second[..., 0].numel())))
    spectrum = first.new_zeros(*first.shape[:-1], second.shape[-2], size // 2 + 1, dtype=torch.complex128)
    for begin in range(0, blocks, together):
        some = slice(begin, begin + together)
        own = torch.fft.rfft(shorter[..., some, :].double(), size).conj_physical_()
        other = torch.fft.rfft(wider[..., some, :].double(), size)
        for x, y in zip(own.unbind(-2), other.unbind(-2), strict=True):
            spectrum.addcmul_(x[..., :, None, :], y[..., None, :, :])
    return torch.fft.irfft(spectrum, size)[..., :num_lags]


def distortion_filters(
    sources: Float[Tensor, "*any S C T"], estimates: Float[Tensor, "*any S C T"], num_taps: int, *, pairs: bool
) -> DistortionFilters:
    r"""The filters that make of one source, or of all, what is nearest to each estimate in the least-squares sense.

    Args:
        sources: the references.
        estimates: to be approximated.
        num_taps: length L of the filters.
        pairs: whether there are filters from each source to every estimate, ``(..., S, S, C, C, L)``, the sources
            first, or only to that of its number, ``(..., S, C, C, L)``.
    """
    count, channels = sources.shape[-3:-1]
    references, heard = sources.flatten(-3, -2), estimates.flatten(-3, -2)
    together = torch.cat((references, heard.to(references.dtype)), -2)
    among, wanted = correlations(references, together, num_taps).split(count * channels, -2)
    every = solve_block_toeplitz(among, wanted).unflatten(-3, (count, channels))
    own_among = _of_the_same(among, count, channels)
    if pairs:
        own = solve_block_toeplitz(own_among, wanted.unflatten(-3, (count, channels)))
        return DistortionFilters(own.unflatten(-3, (count, channels)), every)
    return DistortionFilters(solve_block_toeplitz(own_among, _of_the_same(wanted, count, channels)), every)


def _of_the_same(among: Float[Tensor, "*any M N L"], count: int, channels: int) -> Float[Tensor, "*any S C C L"]:
    """The blocks on the diagonal, of the channels of each source alone."""
    blocks = among.unflatten(-2, (count, channels)).unflatten(-4, (count, channels))
    return blocks.diagonal(dim1=-5, dim2=-3).movedim(-1, -4)


def fast_length(length: int) -> int:
    """The least even length, at least this, that is a power of two times 8 to 15: transforms of these are quick.

    Example:
        >>> fast_length(44611)
        45056
    """
    step = max(2, 1 << max(0, length.bit_length() - 4))
    return math.ceil(length / step) * step
