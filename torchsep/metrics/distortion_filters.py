r"""How much of a signal is what filters can make of others: projections onto delayed references.

Everything is computed from correlations and spectra of short blocks, in double precision, so that minutes of audio need
neither long transforms nor much room.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["correlations", "distortion_filters", "fast_length"]

# Samples of a block; with the longest usual filters a transform is then a quarter longer than a block.
_BLOCK = 1 << 14

# Samples of transforms that are held together.
_TOGETHER = 1 << 22

# Tried on the diagonal, relative to it, one after another: references that are alike leave the projection defined.
_RIDGES = (1e-14, 1e-12, 1e-10, 1e-8)


def correlations(
    first: Float[Tensor, "*any I T"], second: Float[Tensor, "*any J T"], num_lags: int
) -> Float[Tensor, "*any I J K"]:
    r"""The cross-correlations :math:`\sum_t x_{it}\, y_{j,t+k}` at lags from ``-(num_lags - 1)`` to ``num_lags - 1``.

    Example:
        >>> correlations(torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[0.0, 3.0, 1.0]]), 2).round().abs()
        tensor([[[0., 6., 5.]]], dtype=torch.float64)
    """
    length, reach = first.shape[-1], num_lags - 1
    block = min(_BLOCK, max(length, num_lags))
    size = fast_length(block + 2 * reach)
    blocks = math.ceil(length / block)
    padded_first = torch.nn.functional.pad(first, (0, blocks * block - length))
    padded_second = torch.nn.functional.pad(second, (reach, blocks * block - length + reach))
    shorter, wider = padded_first.unfold(-1, block, block), padded_second.unfold(-1, block + 2 * reach, block)
    together = max(1, _TOGETHER // (size * (first[..., 0].numel() + second[..., 0].numel())))
    spectrum = first.new_zeros(*first.shape[:-1], second.shape[-2], size // 2 + 1, dtype=torch.complex128)
    for begin in range(0, blocks, together):
        some = slice(begin, begin + together)
        own = torch.fft.rfft(shorter[..., some, :].double(), size)
        other = torch.fft.rfft(wider[..., some, :].double(), size)
        spectrum = spectrum + torch.einsum("...ibf,...jbf->...ijf", own.conj(), other)
    return torch.fft.irfft(spectrum, size)[..., : 2 * num_lags - 1]


def distortion_filters(
    references: Float[Tensor, "*any M T"], estimates: Float[Tensor, "*any J T"], num_taps: int
) -> Float[Tensor, "*any J M L"]:
    r"""The filters that make of the references, together, what is nearest to each estimate in the least-squares sense.

    Args:
        references: the M channels of all references.
        estimates: channels to be approximated.
        num_taps: length L of the filters.
    """
    *outer, channels, _ = references.shape
    among = correlations(references, references, num_taps)
    lag = torch.arange(num_taps, device=references.device)
    # Of delays p of reference i and q of reference j: their correlation at lag p - q.
    gram = among[..., num_taps - 1 + lag[:, None] - lag].movedim(-3, -2).reshape(*outer, channels * num_taps, -1)
    with_estimates = correlations(references, estimates, num_taps)[..., num_taps - 1 :]
    wanted = with_estimates.movedim(-2, -1).reshape(*outer, gram.shape[-1], -1)
    solved = torch.cholesky_solve(wanted, _factor(gram))
    return solved.mT.unflatten(-1, (channels, num_taps))


def _factor(gram: Float[Tensor, "*any N N"]) -> Float[Tensor, "*any N N"]:
    """The Cholesky factor of a matrix that may be singular, with the least ridge that lets it be."""
    diagonal = gram.diagonal(dim1=-2, dim2=-1)
    level = diagonal.mean(-1, keepdim=True)
    level = level.masked_fill(level == 0, 1.0)
    for ridge in _RIDGES[:-1]:
        factor, failed = torch.linalg.cholesky_ex(gram + torch.diag_embed((ridge * level).expand_as(diagonal)))
        if not failed.any():
            return factor
    return torch.linalg.cholesky_ex(gram + torch.diag_embed((_RIDGES[-1] * level).expand_as(diagonal)))[0]


def fast_length(length: int) -> int:
    """The least even length, at least this, without prime factors above five, for which transforms are quick.

    Example:
        >>> fast_length(44611)
        45000
    """
    candidate = length + length % 2
    while True:
        rest = candidate
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return candidate
        candidate += 2
