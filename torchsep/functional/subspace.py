"""Thresholded singular values of matrices that change little from one call to the next."""

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional.linalg import eigh
from torchsep.functional.starts import hashed_uniform

__all__ = ["ThresholdTracker"]

# While no more than this share of the singular values is above the threshold, only the leading ones are looked at:
# of so many times their number of columns, so many steps are made.
_FEW = 0.1
_COLUMNS = 3.0
_STEPS = 8

# What is wrong about singular values near the threshold is a fraction of the threshold. Once that is below this share
# of the largest one, a single step from the last matrix's singular vectors is near enough.
_SLIGHT = 1e-4
_MARGIN = 1.15
_SPARE = 10


class ThresholdTracker:
    """The singular value threshold of one large matrix after another, for thresholds that fall.

    It keeps the leading singular vectors of the last matrix, of one side, as the start of a subspace iteration for
    the next. Where there are too many of them for that to pay, the smaller Gram matrix is decomposed; in double
    precision, as it holds the squares of the singular values.

    Args:
        matrix: the first one, of spectral norm about one.
    """

    def __init__(self, matrix: Float[Tensor, "M N"]) -> None:
        self._smaller = min(matrix.shape)
        self._rank = 1
        self._transposed = False  # whether the basis is of the left side, for the next matrix is used transposed
        self._basis = _extended(matrix.new_empty(matrix.shape[-1], 0), min(self._smaller, 2 * _SPARE))

    def __call__(self, matrix: Float[Tensor, "M N"], threshold: float) -> Float[Tensor, "M N"]:
        """The matrix with its singular values lowered by the threshold."""
        if threshold < _SLIGHT:
            return self._step(matrix, threshold, 1, _MARGIN)
        if self._rank < _FEW * self._smaller:
            return self._step(matrix, threshold, _STEPS, _COLUMNS)
        return self._whole(matrix, threshold)

    def _step(self, matrix: Tensor, threshold: float, steps: int, margin: float) -> Tensor:
        """From the matrix on the subspace, which is turned towards the leading singular vectors by each step."""
        for step in range(steps):
            product = (matrix.mT if self._transposed else matrix) @ self._basis
            self._transposed = not self._transposed
            if step < steps - 1:
                self._basis = torch.linalg.qr(product)[0]
        exact = product.double()
        squares, rotation = eigh(exact.mT @ exact)
        values = squares.clamp(min=torch.finfo(squares.dtype).tiny).sqrt()
        shares = (rotation * (1 - threshold / values).relu()) @ rotation.mT
        lowered = (product @ shares.to(matrix.dtype)) @ self._basis.mT
        self._keep(product @ (rotation / values).flip(1).to(matrix.dtype), values, threshold, margin)
        return lowered if self._transposed else lowered.mT

    def _whole(self, matrix: Tensor, threshold: float) -> Tensor:
        """From all singular values."""
        wide = matrix.shape[0] <= matrix.shape[1]
        short = matrix if wide else matrix.mT
        exact = short.double()
        squares, vectors = eigh(exact @ exact.mT)
        values = squares.clamp(min=torch.finfo(squares.dtype).tiny).sqrt()
        above = max(1, int((values > threshold).sum()))
        leading = vectors[:, -above:].to(matrix.dtype)
        shares = (1 - threshold / values[-above:]).relu().to(matrix.dtype)
        lowered = (leading * shares) @ (leading.mT @ short)
        self._transposed = wide
        self._keep(vectors.flip(1).to(matrix.dtype), values, threshold, _COLUMNS)
        return lowered if wide else lowered.mT

    def _keep(self, basis: Tensor, values: Tensor, threshold: float, margin: float) -> None:
        self._rank = int((values > threshold).sum())
        columns = min(self._smaller, max(int(margin * self._rank), self._rank + _SPARE))
        self._basis = _extended(basis, columns)


def _extended(basis: Tensor, columns: int) -> Tensor:
    """The first columns of a basis, and new ones orthogonal to them if it has too few."""
    missing = columns - basis.shape[1]
    if missing <= 0:
        return basis[:, :columns]
    added = hashed_uniform((basis.shape[0], missing), columns, basis.device, basis.dtype) - 0.5
    for _ in range(2):  # once is not enough where little remains
        added = torch.linalg.qr(added - basis @ (basis.mT @ added))[0]
    return torch.cat((basis, added), 1)
