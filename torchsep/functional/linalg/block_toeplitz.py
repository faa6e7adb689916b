r"""Equations of filters that are fitted together: their matrix has blocks that depend on differences of delays alone.

With M channels and L delays there are ML equations. The factor of their matrix is found from its first M columns in
:math:`O(M^3 L^2)` steps, where one that does not know of the blocks takes :math:`O(M^3 L^3)`, and the matrix itself is
never written out.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional._custom_ops import operator, register_gradient

__all__ = ["solve_block_toeplitz"]

# Tried on the diagonal, relative to it, one after another: channels that are alike leave the solution defined.
_RIDGES = (1e-14, 1e-12, 1e-10, 1e-8)


def solve_block_toeplitz(
    among: Float[Tensor, "*any M M L"], wanted: Float[Tensor, "*any M J L"]
) -> Float[Tensor, "*any J M L"]:
    r"""The filters :math:`h` with :math:`\sum_{jq} r_{ij}(p - q)\, h_{cj}(q) = d_{ic}(p)` for all channels and delays.

    Args:
        among: correlations :math:`r_{ij}(k)` of the channels at lags from 0; :math:`r_{ij}(-k) = r_{ji}(k)`. Where the
            equations have many solutions, or nearly so, one that is not large is taken.
        wanted: correlations :math:`d_{ic}(k)` of the channels with each of J others, at the same lags.

    Gradient:
        Of both, by the implicit function theorem, which takes one more solution.

    Example:
        >>> among, wanted = torch.tensor([[[2.0, 1.0]]]), torch.tensor([[[4.0, 5.0]]])
        >>> solve_block_toeplitz(among.double(), wanted.double()).round(decimals=6)
        tensor([[[1., 2.]]], dtype=torch.float64)

    References:
        T. Kailath and A. H. Sayed, "Displacement structure: theory and applications", SIAM Review, 1995.
        S. Chandrasekaran and A. H. Sayed, "Stabilizing the generalized Schur algorithm", SIAM J. Matrix Anal. Appl.,
        1996.
    """
    # Channels of any level count alike. The solution does not depend on the levels, and so has no gradient by them.
    energy = among[..., 0].detach().diagonal(dim1=-2, dim2=-1)
    level = energy.masked_fill(energy <= 0, 1.0).rsqrt()
    alike = among * level[..., :, None, None] * level[..., None, :, None]
    solved = _solve_block_toeplitz(alike, wanted * level[..., :, None, None])
    return solved * level[..., None, :, None]


@operator(lambda among, wanted: wanted.new_empty(wanted.transpose(-3, -2).shape))  # noqa: ARG005
def _solve_block_toeplitz(among: Tensor, wanted: Tensor) -> Tensor:
    channels, others, delays = wanted.shape[-3:]
    flat = among.reshape(-1, channels, channels, delays)
    right = wanted.movedim(-1, -3).reshape(-1, delays * channels, others)
    solved = torch.empty_like(right)
    left = torch.arange(len(flat), device=flat.device)
    for ridge in _RIDGES:
        factor, failed = _factor(flat[left], ridge)
        half = torch.linalg.solve_triangular(factor.mT, right[left], upper=False)
        solved[left] = torch.linalg.solve_triangular(factor, half, upper=True)
        left = left[failed & flat[left].isfinite().flatten(1).all(-1)]
        if not len(left):
            break
    in_order = solved.mT.unflatten(-1, (delays, channels)).mT
    return in_order.reshape(*wanted.shape[:-3], others, channels, delays).contiguous()


def _factor(among: Float[Tensor, "B M M L"], ridge: float) -> tuple[Float[Tensor, "B n n"], Tensor]:
    r"""An upper triangular U with :math:`U^T U` the matrix, its rows ordered by delay first; and where there is none.

    The matrix less itself one block further along the diagonal is :math:`A^T A - B^T B` with A and B of M rows. Each
    step turns A and B, so that the first block of B is zero; A then is the next rows of U. The new B is made of the new
    A, not of the old one, on which the stability rests.
    """
    items, channels, _, delays = among.shape
    identity = torch.eye(channels, dtype=among.dtype, device=among.device)
    first = (among[..., 0] + among[..., 0].mT) / 2 + ridge * identity
    lower, failed = torch.linalg.cholesky_ex(first)
    column = among.transpose(1, 2).transpose(2, 3).flatten(2)  # (B, M of the column, L M of the rows)
    column[..., :channels] = first
    upper = torch.linalg.solve_triangular(lower, column, upper=False)
    factor = among.new_zeros(items, delays * channels, delays * channels)
    factor[:, :channels] = upper
    downward = upper[..., channels:]
    failures = [failed]
    for begin in range(channels, delays * channels, channels):
        upper = upper[..., :-channels]
        turn = torch.linalg.solve_triangular(upper[..., :channels].mT, downward[..., :channels].mT, upper=False)
        gain, failed = torch.linalg.cholesky_ex(identity - turn @ turn.mT)
        loss, failed_too = torch.linalg.cholesky_ex(identity - turn.mT @ turn)
        failures += [failed, failed_too]
        upper = torch.linalg.solve_triangular(gain, torch.baddbmm(upper, turn, downward, alpha=-1), upper=False)
        back = torch.linalg.solve_triangular(loss, turn.mT @ gain, upper=False)
        downward = torch.baddbmm(loss.mT @ downward, back, upper, alpha=-1)[..., channels:]
        factor[:, begin : begin + channels, begin:] = upper
    return factor, (torch.stack(failures) != 0).any(0)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0], output)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
    among, solved = ctx.saved_tensors
    # The matrix is symmetric: of the right side it is one more solution, of the matrix its product with the first one.
    other = _solve_block_toeplitz(among, gradient.transpose(-3, -2)).transpose(-3, -2)
    size = 2 * solved.shape[-1]
    first, second = (torch.fft.rfft(filters, size) for filters in (other.transpose(-3, -2), solved))
    lagged = torch.einsum("...cif,...cjf->...ijf", first, second.conj())
    lagged = lagged + torch.einsum("...cif,...cjf->...ijf", second, first.conj())
    of_lags = torch.fft.irfft(lagged, size)[..., : solved.shape[-1]]
    share = of_lags.new_ones(of_lags.shape[-1])
    share[0] = 0.5
    return -share * of_lags, other


register_gradient(_solve_block_toeplitz, _keep, _backward)
