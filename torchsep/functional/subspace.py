"""Thresholded singular values of matrices that change little from one call to the next."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional.linalg import eigh
from torchsep.functional.starts import hashed_uniform

__all__ = ["ThresholdTracker"]

# For thresholds from the first number on, so many steps of the filter; and the share of the threshold that the least
# singular value on the subspace must not exceed, or there is more than the subspace holds. What is wrong is a fraction
# of the threshold, so that less and less will do as it falls.
_SCHEDULE = ((0.05, 3, 0.65), (8e-3, 2, 0.65), (2e-4, 1, 0.8), (0.0, 0, 0.8))

# The filter damps singular values from zero to this share of the threshold.
_DAMPED = 0.55

# Below this threshold, singular vectors that are nearly orthogonal are near enough.
_SLIGHT = 4e-5

# Columns beyond the rank: as a share of it, the square root of the threshold over the first number, within bounds.
_FULL_SHARE = 1e-3
_SHARES = (0.1, 1.5)
_SPARE = 10

# Processors multiply matrices fastest if these have a multiple of so many columns.
_ALIGNED = 16

# If more than this share of all singular values is looked for, all of them are found.
_MOST = 0.75

# The least diagonal element of the Cholesky factor of unit columns, for it to be used, and to be used only once.
_ALIKE, _APART = 1e-2, 0.3


class ThresholdTracker:
    """The singular value threshold of one large matrix after another, for thresholds that fall.

    What is above the threshold is found on a subspace that is kept from one matrix to the next and has more dimensions
    than there were singular values above the last threshold. First it is turned towards the leading singular vectors,
    by steps of a Chebyshev filter that raises them above those far below the threshold. If even the least singular
    value on it is near the threshold, it is made larger; and where it would be most of the space, or too much is near
    the threshold for any subspace to be told apart, the matrix is decomposed as a whole.

    Singular values far below the largest one are resolved in single precision, too, as the columns of its product with
    the basis are nearly as long as singular values, and nearly orthogonal: what is rounded in products of two of them
    is a fraction of their lengths. The small matrix of these products is decomposed in double precision.

    Args:
        matrix: the first one, of spectral norm about one.

    References:
        Y. Zhou, Y. Saad, M. L. Tiago and J. R. Chelikowsky, "Self-consistent-field calculations using
        Chebyshev-filtered subspace iteration", Journal of Computational Physics, 2006.
        A. Stathopoulos and K. Wu, "A block orthogonalization procedure with constant synchronization requirements",
        SIAM Journal on Scientific Computing, 2002 (Gram matrices of unit columns).
    """

    def __init__(self, matrix: Float[Tensor, "M N"]) -> None:
        self._smaller = min(matrix.shape)
        self._of_left = False  # whether the basis is of left singular vectors
        self._basis = _extended(matrix.new_empty(matrix.shape[1], 0), min(self._smaller, 2 * _ALIGNED))
        for _ in range(2):  # nothing is known of its singular vectors yet
            self._basis = _orthonormal(matrix.mT @ _orthonormal(matrix @ self._basis))

    def __call__(self, matrix: Float[Tensor, "M N"], threshold: float) -> tuple[Tensor, Tensor]:
        """Two factors; the first times the second transposed is the matrix with its singular values lowered."""
        if threshold < _SLIGHT:
            return self._slightly(matrix, threshold)
        steps, reach = next((steps, reach) for first, steps, reach in _SCHEDULE if threshold >= first)
        while (columns := self._basis.shape[1]) <= _MOST * self._smaller:
            factors, least = self._on_subspace(matrix, threshold, steps)
            if least <= reach * threshold:
                return factors
            self._basis = _extended(self._basis, min(self._smaller, 2 * columns))
        return self._whole(matrix, threshold)

    def _on_subspace(self, matrix: Tensor, threshold: float, steps: int) -> tuple[tuple[Tensor, Tensor], float]:
        """From the matrix on the subspace, after that has been turned; and the least singular value there."""
        turned, basis = matrix.mT if self._of_left else matrix, self._basis
        product = turned @ basis
        if steps == 0:  # half a step, to the other side
            turned, self._of_left = turned.mT, not self._of_left
            basis = _orthonormal(product)
            product = turned @ basis
        for step in range(steps):  # each takes out one root of the Chebyshev polynomial
            root = 0.5 * (_DAMPED * threshold) ** 2 * (1 + math.cos(math.pi * (step + 0.5) / steps))
            basis = _orthonormal(torch.addmm(basis, turned.mT, product, beta=-root))
            product = turned @ basis
        values, rotation = _right_singular(product)
        rank = int((values > threshold).sum())
        rotation, lowered = rotation.to(product.dtype), (1 - threshold / values[:rank]).to(product.dtype)
        factors = self._kept(product @ rotation, basis @ (rotation[:, :rank] * lowered), threshold)
        return factors, float(values[-1])

    def _slightly(self, matrix: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
        """As above for a small threshold: the lengths of nearly orthogonal columns count as singular values.

        The basis gets no further columns, as what is still to be lowered or raised is slight.
        """
        turned, basis = matrix.mT if self._of_left else matrix, _orthonormal(self._basis)
        product = turned @ basis
        lowered = (1 - threshold / torch.linalg.vector_norm(product, dim=0)).relu()  # of a column of zeros it is zero
        self._basis, self._of_left = product, not self._of_left
        return (product, basis * lowered) if self._of_left else (basis * lowered, product)

    def _whole(self, matrix: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
        """From all singular values, by the smaller Gram matrix; in double precision, as that holds their squares."""
        self._of_left = matrix.shape[0] > matrix.shape[1]
        turned = matrix.mT if self._of_left else matrix
        exact = turned.double()
        squares, vectors = eigh(exact @ exact.mT)
        values, vectors = squares.clamp(min=0).sqrt().flip(0), vectors.flip(1).to(matrix.dtype)
        rank = int((values > threshold).sum())
        lowered = (1 - threshold / values[:rank]).to(matrix.dtype)
        return self._kept(vectors, turned.mT @ vectors[:, :rank] * lowered, threshold)

    def _kept(self, first: Tensor, second: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
        """The factors in order; the first, which has columns beyond the rank, is the next basis, of the other side."""
        rank = second.shape[1]
        share = min(max(math.sqrt(threshold / _FULL_SHARE), _SHARES[0]), _SHARES[1])
        columns = max(int((1 + share) * rank), rank + _SPARE)
        self._basis = _extended(_unit(first), min(self._smaller, -(-columns // _ALIGNED) * _ALIGNED))
        self._of_left = not self._of_left
        return (first[:, :rank], second) if self._of_left else (second, first[:, :rank])


def _unit(matrix: Tensor) -> Tensor:
    """Columns of length one; those that are zero remain so."""
    return matrix / torch.linalg.vector_norm(matrix, dim=0).clamp(min=torch.finfo(matrix.dtype).tiny)


def _right_singular(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values, the largest first, and right singular vectors, of columns of very different lengths."""
    squares, vectors = eigh((matrix.mT @ matrix).double())
    return squares.clamp(min=0).sqrt().flip(0), vectors.flip(1)


def _orthonormal(matrix: Tensor) -> Tensor:
    """An orthonormal basis of the columns, each of which adds what it has beyond those before it.

    It is made by Cholesky factors, unless columns are too much alike for these.
    """
    basis = matrix
    for _ in range(2):
        common = basis.mT @ basis
        lengths = common.diagonal().sqrt()
        factor, failed = torch.linalg.cholesky_ex(common / lengths / lengths[:, None], upper=True)
        least = 0.0 if failed else float(factor.diagonal().min())
        if not least > _ALIKE:
            return torch.linalg.qr(_unit(matrix))[0]
        basis = torch.linalg.solve_triangular(factor * lengths, basis, upper=True, left=False)
        if least > _APART:
            break
    return basis


def _extended(basis: Tensor, columns: int) -> Tensor:
    """The first columns of a basis; if it has too few, with arbitrary ones that are orthogonal to them."""
    missing = columns - basis.shape[1]
    if missing <= 0:
        return basis[:, :columns]
    added = hashed_uniform((basis.shape[0], missing), columns, basis.device, basis.dtype) - 0.5
    return torch.cat((basis, _unit(added - basis @ (basis.mT @ added))), 1)
