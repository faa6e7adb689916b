"""Batched decompositions that isolate non-finite items, and matrix functions with stable gradients."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from torchsep.functional.hashing import hashed_uniform

__all__ = ["eigh", "inverse_square_root", "singular_value_threshold", "spectral_norm", "svd", "threshold_derivative"]

# Columns and steps of the subspace iteration for the largest singular value.
_COLUMNS = 16
_STEPS = 16


def eigh(matrix: Shaped[Tensor, "*any M M"]) -> tuple[Float[Tensor, "*any M"], Shaped[Tensor, "*any M M"]]:
    """Eigenvalues in ascending order, and eigenvectors in columns, of Hermitian matrices.

    Results are NaN for matrices with NaN or infinite elements. These do not affect other items of the batch.

    Args:
        matrix: real symmetric or complex Hermitian; the lower triangle is used.

    Gradient:
        None, as it does not exist for eigenvectors of repeated eigenvalues.

    Example:
        >>> eigh(torch.tensor([[2.0, 1.0], [1.0, 2.0]]))[0]
        tensor([1., 3.])
    """
    safe, bad = _quarantine(matrix.detach())
    values, vectors = torch.linalg.eigh(safe)
    return values.masked_fill(bad[..., 0], torch.nan), vectors.masked_fill(bad, torch.nan)


def svd(
    matrix: Shaped[Tensor, "*any M N"],
) -> tuple[Shaped[Tensor, "*any M K"], Float[Tensor, "*any K"], Shaped[Tensor, "*any N K"]]:
    """Left singular vectors in columns, singular values in descending order, and right singular vectors in columns.

    Results are NaN for matrices with NaN or infinite elements. These do not affect other items of the batch.

    Args:
        matrix: real or complex matrices of any size.

    Gradient:
        None, as it does not exist for singular vectors of repeated singular values.

    Example:
        >>> svd(torch.tensor([[0.0, 3.0, 0.0], [2.0, 0.0, 0.0]]))[1]
        tensor([3., 2.])
    """
    safe, bad = _quarantine(matrix.detach())
    left, values, right = torch.linalg.svd(safe, full_matrices=False)
    return (
        left.masked_fill(bad, torch.nan),
        values.masked_fill(bad[..., 0], torch.nan),
        right.mH.masked_fill(bad, torch.nan),
    )


def inverse_square_root(matrix: Float[Tensor, "*any M M"], tolerance: float | None = None) -> Float[Tensor, "*any M M"]:
    r"""The inverse square root of positive semidefinite matrices, zero on their null space.

    It is a whitening matrix: :math:`A^{-1/2} A A^{-1/2}` is the identity, or the projection onto the range of
    :math:`A`.

    Args:
        matrix: symmetric :math:`A`.
        tolerance: eigenvalues up to this fraction of the largest one are treated as zero; if None, ten times the size
            of the matrix times the machine precision.

    Gradient:
        Exact, also for repeated eigenvalues, with the numerical rank fixed.

    Example:
        >>> inverse_square_root(torch.diag(torch.tensor([4.0, 0.25])))
        tensor([[0.5000, 0.0000],
                [0.0000, 2.0000]])

    References:
        N. J. Higham, "Functions of Matrices: Theory and Computation", SIAM, 2008 (theorem 3.11, Daleckii and Krein).
    """
    values, vectors = eigh(matrix)
    if tolerance is None:
        tolerance = 10 * matrix.shape[-1] * torch.finfo(matrix.dtype).eps
    zero = ~(values > tolerance * values[..., -1:])
    root = values.masked_fill(zero, 1.0).sqrt()
    inverse = root.reciprocal().masked_fill(zero | values.isnan(), 0.0)
    result = (vectors * inverse[..., None, :]) @ vectors.mT
    if not (torch.is_grad_enabled() and matrix.requires_grad):
        return result
    # Divided differences of the inverse square root in closed form, without subtraction, for two positive eigenvalues;
    # and for one positive and one zero eigenvalue.
    x, y = root[..., :, None], root[..., None, :]
    both = -1 / (x * y * (x + y))
    one = inverse[..., :, None] + inverse[..., None, :]
    of_one = one / torch.where(zero[..., :, None], y, x).square()
    left, right = zero[..., :, None], zero[..., None, :]
    quotients = torch.where(left | right, torch.where(left & right, 0.0, of_one), both)
    change = vectors.mT @ (matrix - matrix.detach()) @ vectors
    return result + vectors @ (quotients * 0.5 * (change + change.mT)) @ vectors.mT


def singular_value_threshold(
    matrix: Float[Tensor, "*any M N"], threshold: float | Float[Tensor, "*any"]
) -> Float[Tensor, "*any M N"]:
    r"""The matrix with its singular values soft-thresholded.

    This is the :math:`X` that minimises :math:`\tau \|X\|_* + \frac{1}{2} \|X - A\|_F^2`.

    Args:
        matrix: :math:`A`.
        threshold: :math:`\tau`, one for all matrices or one per matrix.

    Gradient:
        Exact, also for repeated singular values, with the rank of the result fixed.

    Example:
        >>> singular_value_threshold(torch.diag(torch.tensor([3.0, 1.0])), 2.0)
        tensor([[1., 0.],
                [0., 0.]])

    References:
        J.-F. Cai, E. J. Candès and Z. Shen, "A singular value thresholding algorithm for matrix completion", SIAM
        Journal on Optimization, 2010.
    """
    tau = torch.as_tensor(threshold, dtype=matrix.dtype, device=matrix.device)
    recorded = torch.is_grad_enabled() and matrix.requires_grad
    if not recorded and matrix.dtype != torch.float64:
        return _threshold_of_gram(matrix.detach(), tau)
    left, values, right = svd(matrix)
    result = (left * (values - tau[..., None]).relu()[..., None, :]) @ right.mT
    if not recorded:
        return result
    return result + threshold_derivative(left, values, right, tau.detach(), matrix - matrix.detach())


def _threshold_of_gram(matrix: Tensor, threshold: Tensor) -> Tensor:
    """The same from the eigenvalues of the Gram matrix, in double precision, as these are squares."""
    wide = matrix if matrix.shape[-2] <= matrix.shape[-1] else matrix.mT
    double = wide.double()
    squares, vectors = eigh(double @ double.mT)
    values = squares.clamp(min=0).sqrt()
    gain = (values - threshold[..., None]).relu() / values.masked_fill(values == 0, 1.0)
    thresholded = ((vectors * gain[..., None, :]) @ vectors.mT).to(matrix.dtype) @ wide
    return thresholded if wide is matrix else thresholded.mT


def threshold_derivative(
    left: Float[Tensor, "*any M K"],
    values: Float[Tensor, "*any K"],
    right: Float[Tensor, "*any N K"],
    threshold: Float[Tensor, "*any"],
    direction: Float[Tensor, "*any M N"],
) -> Float[Tensor, "*any M N"]:
    """The directional derivative of :func:`singular_value_threshold`.

    It is self-adjoint: given the gradient of the result it returns the gradient of the matrix. All its weights lie in
    [0, 1], also for repeated or vanishing singular values.

    Args:
        left: left singular vectors from :func:`svd`.
        values: singular values from :func:`svd`.
        right: right singular vectors from :func:`svd`.
        threshold: one for all matrices or one per matrix.
        direction: change of the matrix.

    Example:
        >>> left, values, right = svd(torch.diag(torch.tensor([3.0, 1.0])))
        >>> threshold_derivative(left, values, right, torch.tensor(2.0), torch.ones(2, 2))
        tensor([[1.0000, 0.5000],
                [0.5000, 0.0000]])
    """
    tau = threshold[..., None, None]
    x, y = values[..., :, None], values[..., None, :]
    above, other = x > tau, y > tau
    large, small = torch.maximum(x, y), torch.minimum(x, y)
    thresholded = (large - tau).relu()
    # Divided differences of the soft threshold, and of its odd extension to negative values.
    mixed = thresholded / (large - small).masked_fill(above == other, 1.0)
    even = torch.where(above == other, (above & other).to(values.dtype), mixed)
    total = (large + small).masked_fill(~(above | other), 1.0)
    odd = (thresholded + (small - tau).relu()) / total
    inside = left.mT @ direction @ right
    symmetric, skew = 0.5 * (inside + inside.mT), 0.5 * (inside - inside.mT)
    change = left @ (even * symmetric + odd * skew) @ right.mT
    gain = ((values - threshold[..., None]).relu() / values.masked_fill(values == 0, 1.0))[..., None, :]
    if left.shape[-2] > left.shape[-1]:
        outside = direction - left @ (left.mT @ direction)
        change = change + (outside @ right * gain) @ right.mT
    if right.shape[-2] > right.shape[-1]:
        outside = direction - (direction @ right) @ right.mT
        change = change + (left * gain) @ (left.mT @ outside)
    return change


def spectral_norm(matrix: Float[Tensor, "*any M N"]) -> Float[Tensor, "*any"]:
    """The largest singular value, by subspace iteration.

    Args:
        matrix: with finite elements.

    Gradient:
        Exact if the largest singular value is simple; otherwise a subgradient.

    Example:
        >>> spectral_norm(torch.diag(torch.tensor([3.0, 1.0]))).round(decimals=4)
        tensor(3.)
    """
    detached = matrix.detach()
    columns = min(_COLUMNS, *detached.shape[-2:])
    initial = hashed_uniform((detached.shape[-1], columns), 0, detached.device, detached.dtype) - 0.5
    right = torch.linalg.qr(initial.expand(*detached.shape[:-2], *initial.shape))[0]
    for _ in range(_STEPS):
        left = torch.linalg.qr(detached @ right)[0]
        right = torch.linalg.qr(detached.mT @ left)[0]
    first, values, second = svd(detached @ right)
    vector = right @ second[..., :1]
    if not (torch.is_grad_enabled() and matrix.requires_grad):
        return values[..., 0]
    return (first[..., :1].mT @ matrix @ vector)[..., 0, 0]


def _quarantine(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The matrices with non-finite ones replaced by the identity, and the mask of those."""
    bad = ~matrix.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
    identity = torch.eye(*matrix.shape[-2:], dtype=matrix.dtype, device=matrix.device)
    return torch.where(bad, identity, matrix), bad
