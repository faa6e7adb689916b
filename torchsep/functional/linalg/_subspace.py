"""Soft-thresholded singular values of a sequence of similar matrices, by subspace tracking."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional.hashing import hashed_uniform
from torchsep.functional.linalg.matrix_functions import eigh

__all__ = ["SubspaceTracker", "ThresholdedFactors"]

# (minimum threshold, filter steps, tolerance). The subspace is too small if its smallest singular value exceeds the
# tolerance times the threshold. Errors are proportional to the threshold, so fewer steps suffice as it decreases.
_SCHEDULE = ((0.05, 3, 0.65), (8e-3, 2, 0.65), (2e-4, 1, 0.8), (0.0, 0, 0.8))

# The filter attenuates singular values between zero and this fraction of the threshold.
_STOP_BAND = 0.55

# Below this threshold, approximately orthogonal singular vectors are accurate enough.
_SMALL_THRESHOLD = 4e-5

# Oversampling beyond the rank, as a fraction of it: sqrt(threshold / _OVERSAMPLING_SCALE), clipped; and its minimum.
_OVERSAMPLING_SCALE = 1e-3
_OVERSAMPLING = (0.1, 1.5)
_MIN_OVERSAMPLING = 10

# Matrix products are fastest if the number of columns is a multiple of this.
_ALIGNMENT = 16

# A subspace of more than this fraction of the whole space is replaced by a full decomposition.
_MAX_FRACTION = 0.75

# Smallest diagonal element of the Cholesky factor of normalised columns: below the first value the factor is too
# inaccurate, and below the second one the orthogonalisation is repeated.
_MIN_PIVOT, _REPEAT_PIVOT = 1e-2, 0.3


class ThresholdedFactors(NamedTuple):
    """A matrix with soft-thresholded singular values as ``left @ right.mT``."""

    left: Float[Tensor, "M R"]
    right: Float[Tensor, "N R"]


class SubspaceTracker:
    """Singular value thresholding of a sequence of large matrices that change slowly, for decreasing thresholds.

    The singular vectors above the threshold are computed on a subspace that is kept between calls and has more
    dimensions than the last rank. Steps of a Chebyshev filter first rotate it towards the leading singular vectors.
    It is enlarged if its smallest singular value is close to the threshold, and replaced by a full decomposition if it
    would be most of the space.

    Singular values far below the largest one are also resolved in single precision: the columns of the product with
    the basis are nearly orthogonal and nearly as long as the singular values, so rounding errors of their inner
    products are relative to their lengths. The small Gram matrix is decomposed in double precision.

    Args:
        matrix: the first matrix, of spectral norm about one.

    References:
        Y. Zhou, Y. Saad, M. L. Tiago and J. R. Chelikowsky, "Self-consistent-field calculations using
        Chebyshev-filtered subspace iteration", Journal of Computational Physics, 2006.
        A. Stathopoulos and K. Wu, "A block orthogonalization procedure with constant synchronization requirements",
        SIAM Journal on Scientific Computing, 2002 (Gram matrices of unit columns).
    """

    def __init__(self, matrix: Float[Tensor, "M N"]) -> None:
        self._max_rank = min(matrix.shape)
        self._is_left = False  # whether the basis spans left singular vectors
        self._basis = _resized(matrix.new_empty(matrix.shape[1], 0), min(self._max_rank, 2 * _ALIGNMENT))
        for _ in range(2):  # power iterations from random vectors
            self._basis = _orthonormal(matrix.mT @ _orthonormal(matrix @ self._basis))

    def __call__(self, matrix: Float[Tensor, "M N"], threshold: float) -> ThresholdedFactors:
        """Factors of the next matrix, its singular values soft-thresholded."""
        if threshold < _SMALL_THRESHOLD:
            return self._without_rotation(matrix, threshold)
        steps, tolerance = next((steps, tolerance) for first, steps, tolerance in _SCHEDULE if threshold >= first)
        while (width := self._basis.shape[1]) <= _MAX_FRACTION * self._max_rank:
            factors, smallest = self._on_subspace(matrix, threshold, steps)
            if smallest <= tolerance * threshold:
                return factors
            self._basis = _resized(self._basis, min(self._max_rank, 2 * width))
        return self._full(matrix, threshold)

    def _on_subspace(self, matrix: Tensor, threshold: float, steps: int) -> tuple[ThresholdedFactors, float]:
        """Factors on the filtered subspace, and the smallest singular value there."""
        matrix, basis = matrix.mT if self._is_left else matrix, self._basis
        product = matrix @ basis
        if steps == 0:  # half a power iteration, which changes sides
            matrix, self._is_left = matrix.mT, not self._is_left
            basis = _orthonormal(product)
            product = matrix @ basis
        for step in range(steps):  # each applies one root of the Chebyshev polynomial
            root = 0.5 * (_STOP_BAND * threshold) ** 2 * (1 + math.cos(math.pi * (step + 0.5) / steps))
            basis = _orthonormal(torch.addmm(basis, matrix.mT, product, beta=-root))
            product = matrix @ basis
        squares, vectors = eigh((product.mT @ product).double())
        values, rotation = squares.clamp(min=0).sqrt().flip(0), vectors.flip(1).to(product.dtype)
        rank = int((values > threshold).sum())
        gain = (1 - threshold / values[:rank]).to(product.dtype)
        factors = self._update(product @ rotation, basis @ (rotation[:, :rank] * gain), threshold)
        return factors, float(values[-1])

    def _without_rotation(self, matrix: Tensor, threshold: float) -> ThresholdedFactors:
        """Factors for a small threshold: the lengths of the nearly orthogonal columns serve as singular values."""
        matrix, basis = matrix.mT if self._is_left else matrix, _orthonormal(self._basis)
        product = matrix @ basis
        basis = basis * (1 - threshold / torch.linalg.vector_norm(product, dim=0)).relu()  # zero for a zero column
        self._basis, self._is_left = product, not self._is_left
        return self._in_order(product, basis)

    def _full(self, matrix: Tensor, threshold: float) -> ThresholdedFactors:
        """Factors from the eigenvalues of the smaller Gram matrix, in double precision as these are squares."""
        self._is_left = matrix.shape[0] > matrix.shape[1]
        matrix = matrix.mT if self._is_left else matrix
        double = matrix.double()
        squares, vectors = eigh(double @ double.mT)
        values, vectors = squares.clamp(min=0).sqrt().flip(0), vectors.flip(1).to(matrix.dtype)
        rank = int((values > threshold).sum())
        gain = (1 - threshold / values[:rank]).to(matrix.dtype)
        return self._update(vectors, matrix.mT @ (vectors[:, :rank] * gain), threshold)

    def _update(self, first: Tensor, second: Tensor, threshold: float) -> ThresholdedFactors:
        """The factors in order. The first one has columns beyond the rank: it is the next basis, of the other side."""
        rank = second.shape[1]
        fraction = min(max(math.sqrt(threshold / _OVERSAMPLING_SCALE), _OVERSAMPLING[0]), _OVERSAMPLING[1])
        width = math.ceil(max(int((1 + fraction) * rank), rank + _MIN_OVERSAMPLING) / _ALIGNMENT) * _ALIGNMENT
        self._basis, self._is_left = _resized(_normalised(first), min(self._max_rank, width)), not self._is_left
        return self._in_order(first[:, :rank], second)

    def _in_order(self, first: Tensor, second: Tensor) -> ThresholdedFactors:
        return ThresholdedFactors(first, second) if self._is_left else ThresholdedFactors(second, first)


def _normalised(matrix: Tensor) -> Tensor:
    """Columns of unit length; zero columns remain zero."""
    return matrix / torch.linalg.vector_norm(matrix, dim=0).clamp(min=torch.finfo(matrix.dtype).tiny)


def _orthonormal(matrix: Tensor) -> Tensor:
    """An orthonormal basis of the columns in their order, by Cholesky QR; by Householder QR if they are degenerate."""
    basis = matrix
    for _ in range(2):
        gram = basis.mT @ basis
        lengths = gram.diagonal().sqrt()
        factor, failed = torch.linalg.cholesky_ex(gram / lengths / lengths[:, None], upper=True)
        pivot = 0.0 if failed else float(factor.diagonal().min())
        if not pivot > _MIN_PIVOT:
            return torch.linalg.qr(_normalised(matrix))[0]
        basis = torch.linalg.solve_triangular(factor * lengths, basis, upper=True, left=False)
        if pivot > _REPEAT_PIVOT:
            break
    return basis


def _resized(basis: Tensor, width: int) -> Tensor:
    """The first columns of a basis, followed by arbitrary orthogonal columns if there are too few."""
    rows, given = basis.shape
    if width <= given:
        return basis[:, :width]
    added = hashed_uniform((rows, width - given), given, basis.device, basis.dtype) - 0.5
    return torch.cat((basis, _normalised(added - basis @ (basis.mT @ added))), 1)
