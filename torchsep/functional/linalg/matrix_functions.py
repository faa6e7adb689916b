"""Decompositions in which a bad matrix stays alone, and functions of matrices with gradients where values meet."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from torchsep.functional.hashing import hashed_uniform

__all__ = ["eigh", "inverse_square_root", "singular_value_threshold", "spectral_norm", "svd", "threshold_derivative"]

# Columns and steps of the iteration that finds the largest singular value. Processors multiply by fewer columns slower.
_COLUMNS = 16
_STEPS = 16


def eigh(matrix: Shaped[Tensor, "*any M M"]) -> tuple[Float[Tensor, "*any M"], Shaped[Tensor, "*any M M"]]:
    """Eigenvalues in ascending order, and eigenvectors in columns, of Hermitian matrices.

    A matrix with NaN or infinite elements gives NaN, and does not fail those beside it.

    Args:
        matrix: real symmetric or complex Hermitian; the lower triangle is used.

    Gradient:
        None: eigenvectors have none where eigenvalues meet. Functions of a matrix do.

    Example:
        >>> eigh(torch.tensor([[2.0, 1.0], [1.0, 2.0]]))[0]
        tensor([1., 3.])
    """
    safe, bad = _quarantined(matrix.detach())
    values, vectors = torch.linalg.eigh(safe)
    return values.masked_fill(bad[..., 0], torch.nan), vectors.masked_fill(bad, torch.nan)


def svd(
    matrix: Shaped[Tensor, "*any M N"],
) -> tuple[Shaped[Tensor, "*any M K"], Float[Tensor, "*any K"], Shaped[Tensor, "*any N K"]]:
    """Left singular vectors in columns, singular values in descending order, and right singular vectors in columns.

    A matrix with NaN or infinite elements gives NaN, and does not fail those beside it.

    Args:
        matrix: of any size.

    Gradient:
        None: singular vectors have none where singular values meet. Functions of a matrix do.

    Example:
        >>> svd(torch.tensor([[0.0, 3.0, 0.0], [2.0, 0.0, 0.0]]))[1]
        tensor([3., 2.])
    """
    safe, bad = _quarantined(matrix.detach())
    left, values, right = torch.linalg.svd(safe, full_matrices=False)
    return (
        left.masked_fill(bad, torch.nan),
        values.masked_fill(bad[..., 0], torch.nan),
        right.mH.masked_fill(bad, torch.nan),
    )


def inverse_square_root(matrix: Float[Tensor, "*any M M"], tolerance: float | None = None) -> Float[Tensor, "*any M M"]:
    r"""The inverse square root of positive semidefinite matrices, zero on what they take to zero.

    It whitens: :math:`A^{-1/2} A A^{-1/2}` is the identity, or the projection onto the range of :math:`A`.

    Args:
        matrix: symmetric :math:`A`.
        tolerance: eigenvalues of at most so much of the largest one count as zero; if None, ten times the size of the
            matrix times the precision.

    Gradient:
        Exact, also where eigenvalues meet; which of them are zero is held.

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
    # The divided differences of the inverse square root, without a difference in them: where both values are above
    # zero; between one above and one at zero they are those of the step from one to the other.
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
    r"""The matrix with its singular values lowered by a threshold, and those below it zero.

    This is the matrix :math:`X` that is least in :math:`\tau \|X\|_* + \frac{1}{2} \|X - A\|_F^2`.

    Args:
        matrix: :math:`A`.
        threshold: :math:`\tau`, one for all matrices or one for each.

    Gradient:
        Exact, also where singular values meet, which singular values are above the threshold held.

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
    """The same from the squares of singular values, which double precision resolves better than single does those."""
    turned = matrix if matrix.shape[-2] <= matrix.shape[-1] else matrix.mT
    exact = turned.double()
    squares, vectors = eigh(exact @ exact.mT)
    values = squares.clamp(min=0).sqrt()
    kept = (values - threshold[..., None]).relu() / values.masked_fill(values == 0, 1.0)
    lowered = ((vectors * kept[..., None, :]) @ vectors.mT).to(matrix.dtype) @ turned
    return lowered if turned is matrix else lowered.mT


def threshold_derivative(
    left: Float[Tensor, "*any M K"],
    values: Float[Tensor, "*any K"],
    right: Float[Tensor, "*any N K"],
    threshold: Float[Tensor, "*any"],
    direction: Float[Tensor, "*any M N"],
) -> Float[Tensor, "*any M N"]:
    """How :func:`singular_value_threshold` changes if its matrix changes in a direction.

    The derivative is its own adjoint: of a gradient with respect to the result it makes that with respect to the
    matrix. All its weights lie in [0, 1], however near singular values are to one another or to zero.

    Args:
        left: of the matrix's :func:`svd`.
        values: of the matrix's :func:`svd`.
        right: of the matrix's :func:`svd`.
        threshold: one for all matrices or one for each.
        direction: in which the matrix changes.

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
    lowered = (large - tau).relu()
    # Divided differences of the function, and of its odd continuation across zero.
    mixed = lowered / (large - small).masked_fill(above == other, 1.0)
    even = torch.where(above == other, (above & other).to(values.dtype), mixed)
    total = (large + small).masked_fill(~(above | other), 1.0)
    odd = (lowered + (small - tau).relu()) / total
    inside = left.mT @ direction @ right
    symmetric, skew = 0.5 * (inside + inside.mT), 0.5 * (inside - inside.mT)
    change = left @ (even * symmetric + odd * skew) @ right.mT
    share = ((values - threshold[..., None]).relu() / values.masked_fill(values == 0, 1.0))[..., None, :]
    if left.shape[-2] > left.shape[-1]:
        outside = direction - left @ (left.mT @ direction)
        change = change + (outside @ right * share) @ right.mT
    if right.shape[-2] > right.shape[-1]:
        outside = direction - (direction @ right) @ right.mT
        change = change + (left * share) @ (left.mT @ outside)
    return change


def spectral_norm(matrix: Float[Tensor, "*any M N"]) -> Float[Tensor, "*any"]:
    """The largest singular value, from a few products with the matrix instead of its decomposition.

    Args:
        matrix: of finite elements.

    Gradient:
        Exact where the largest singular value is simple; elsewhere that of one of them.

    Example:
        >>> spectral_norm(torch.diag(torch.tensor([3.0, 1.0]))).round(decimals=4)
        tensor(3.)
    """
    held = matrix.detach()
    columns = min(_COLUMNS, *held.shape[-2:])
    start = hashed_uniform((held.shape[-1], columns), 0, held.device, held.dtype) - 0.5
    right = torch.linalg.qr(start.expand(*held.shape[:-2], *start.shape))[0]
    for _ in range(_STEPS):
        left = torch.linalg.qr(held @ right)[0]
        right = torch.linalg.qr(held.mT @ left)[0]
    first, values, second = svd(held @ right)
    vector = right @ second[..., :1]
    if not (torch.is_grad_enabled() and matrix.requires_grad):
        return values[..., 0]
    return (first[..., :1].mT @ matrix @ vector)[..., 0, 0]


def _quarantined(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The matrices with the identity in place of those that are not finite, and which those are."""
    bad = ~matrix.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
    identity = torch.eye(*matrix.shape[-2:], dtype=matrix.dtype, device=matrix.device)
    return torch.where(bad, identity, matrix), bad
