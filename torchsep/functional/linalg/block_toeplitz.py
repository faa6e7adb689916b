r"""Symmetric block Toeplitz systems, the normal equations of jointly fitted FIR filters.

For M channels and L delays there are ML equations. The block Schur algorithm computes the Cholesky factor from the
first M columns in :math:`O(M^3 L^2)` steps, instead of :math:`O(M^3 L^3)`, without forming the matrix.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional._custom_ops import operator, register_gradient

__all__ = ["solve_block_toeplitz"]

# Relative diagonal loading, increased until the factorisation succeeds, as for identical channels.
_RIDGES = (1e-14, 1e-12, 1e-10, 1e-8)


def solve_block_toeplitz(
    among: Float[Tensor, "*any M M L"], wanted: Float[Tensor, "*any M J L"]
) -> Float[Tensor, "*any J M L"]:
    r"""The filters :math:`h` with :math:`\sum_{jq} r_{ij}(p - q)\, h_{cj}(q) = d_{ic}(p)` for all channels and delays.

    Args:
        among: correlations :math:`r_{ij}(k)` of the channels at non-negative lags; :math:`r_{ij}(-k) = r_{ji}(k)`.
            (Nearly) singular systems are regularised.
        wanted: correlations :math:`d_{ic}(k)` of the channels with each of J targets, at the same lags.

    Gradient:
        Exact for both arguments, by the implicit function theorem, which solves one more system.

    Example:
        >>> among, wanted = torch.tensor([[[2.0, 1.0]]]), torch.tensor([[[4.0, 5.0]]])
        >>> solve_block_toeplitz(among.double(), wanted.double()).round(decimals=6)
        tensor([[[1., 2.]]], dtype=torch.float64)

    References:
        T. Kailath and A. H. Sayed, "Displacement structure: theory and applications", SIAM Review, 1995.
        S. Chandrasekaran and A. H. Sayed, "Stabilizing the generalized Schur algorithm", SIAM J. Matrix Anal. Appl.,
        1996.
    """
    # Normalise the channels. The solution does not depend on their levels, so they need no gradient.
    energy = among[..., 0].detach().diagonal(dim1=-2, dim2=-1)
    level = energy.masked_fill(energy <= 0, 1.0).rsqrt()
    normalised = among * level[..., :, None, None] * level[..., None, :, None]
    solved = _solve_block_toeplitz(normalised, wanted * level[..., :, None, None])
    return solved * level[..., None, :, None]


@operator(lambda among, wanted: wanted.new_empty(wanted.transpose(-3, -2).shape))  # noqa: ARG005
def _solve_block_toeplitz(among: Tensor, wanted: Tensor) -> Tensor:
    channels, others, delays = wanted.shape[-3:]
    flat = among.reshape(-1, channels, channels, delays)
    right = wanted.movedim(-1, -3).reshape(-1, delays * channels, others)
    solved = torch.empty_like(right)
    remaining = torch.arange(len(flat), device=flat.device)
    for ridge in _RIDGES:
        factor, failed = _factor(flat[remaining], ridge)
        half = torch.linalg.solve_triangular(factor.mT, right[remaining], upper=False)
        solved[remaining] = torch.linalg.solve_triangular(factor, half, upper=True)
        remaining = remaining[failed & flat[remaining].isfinite().flatten(1).all(-1)]
        if not len(remaining):
            break
    in_order = solved.mT.unflatten(-1, (delays, channels)).mT
    return in_order.reshape(*wanted.shape[:-3], others, channels, delays).contiguous()


def _factor(among: Float[Tensor, "B M M L"], ridge: float) -> tuple[Float[Tensor, "B n n"], Tensor]:
    r"""The upper triangular U with :math:`U^T U` equal to the matrix, delays before channels; and the failed items.

    The matrix minus its copy shifted by one block along the diagonal is :math:`A^T A - B^T B`, with M rows in A and B.
    Each step applies a hyperbolic rotation to A and B that makes the first block of B zero; A then contains the next
    rows of U. For stability the new B is computed from the new A.
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
        rotation = torch.linalg.solve_triangular(upper[..., :channels].mT, downward[..., :channels].mT, upper=False)
        gain, failed = torch.linalg.cholesky_ex(identity - rotation @ rotation.mT)
        loss, failed_too = torch.linalg.cholesky_ex(identity - rotation.mT @ rotation)
        failures += [failed, failed_too]
        upper = torch.linalg.solve_triangular(gain, torch.baddbmm(upper, rotation, downward, alpha=-1), upper=False)
        back = torch.linalg.solve_triangular(loss, rotation.mT @ gain, upper=False)
        downward = torch.baddbmm(loss.mT @ downward, back, upper, alpha=-1)[..., channels:]
        factor[:, begin : begin + channels, begin:] = upper
    return factor, (torch.stack(failures) != 0).any(0)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0], output)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
    among, solved = ctx.saved_tensors
    # The matrix is symmetric: the gradient of the right-hand side solves the same system. The gradient of the matrix is
    # its negative outer product with the solution.
    other = _solve_block_toeplitz(among, gradient.transpose(-3, -2)).transpose(-3, -2)
    size = 2 * solved.shape[-1]
    first, second = (torch.fft.rfft(filters, size) for filters in (other.transpose(-3, -2), solved))
    lagged = torch.einsum("...cif,...cjf->...ijf", first, second.conj())
    lagged = lagged + torch.einsum("...cif,...cjf->...ijf", second, first.conj())
    of_lags = torch.fft.irfft(lagged, size)[..., : solved.shape[-1]]
    weight = of_lags.new_ones(of_lags.shape[-1])
    weight[0] = 0.5  # lag 0 is counted twice
    return -weight * of_lags, other


register_gradient(_solve_block_toeplitz, _keep, _backward)
