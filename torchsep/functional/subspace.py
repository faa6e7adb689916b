"""Thresholded singular values of matrices that change little from one call to the next."""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from torchsep.functional.linalg import eigh
from torchsep.functional.starts import hashed_uniform

__all__ = ["Lowered", "ThresholdTracker"]

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


class Lowered(NamedTuple):
    """Matrices with their singular values lowered, as products of the first factor and the second transposed.

    Args:
        tracker: of these matrices, for the call after.
        left: whose columns beyond an item's rank may be any, as those of the other factor are zero, or the reverse.
        right: of as many columns.
    """

    tracker: "ThresholdTracker"
    left: Float[Tensor, "B M R"]
    right: Float[Tensor, "B N R"]


class ThresholdTracker:
    """The singular value threshold of one batch of large matrices after another, for thresholds that fall.

    What is above the threshold is found on a subspace that is kept from one matrix to the next and has more dimensions
    than there were singular values above the last threshold. First it is turned towards the leading singular vectors,
    by steps of a Chebyshev filter that raises them above those far below the threshold. If even the least singular
    value on it is near the threshold, it is made larger; and where it would be most of the space, or too much is near
    the threshold for any subspace to be told apart, the matrix is decomposed as a whole.

    Singular values far below the largest one are resolved in single precision, too, as the columns of its product with
    the basis are nearly as long as singular values, and nearly orthogonal: what is rounded in products of two of them
    is a fraction of their lengths. The small matrix of these products is decomposed in double precision.

    Every matrix has a subspace of its own, whose dimensions do not depend on the other items. Bases of fewer columns
    than the largest one are filled up with zeros. Where items ask for different steps, they part for good.

    Args:
        matrices: the first ones, of spectral norm about one.

    References:
        Y. Zhou, Y. Saad, M. L. Tiago and J. R. Chelikowsky, "Self-consistent-field calculations using
        Chebyshev-filtered subspace iteration", Journal of Computational Physics, 2006.
        A. Stathopoulos and K. Wu, "A block orthogonalization procedure with constant synchronization requirements",
        SIAM Journal on Scientific Computing, 2002 (Gram matrices of unit columns).
    """

    def __init__(self, matrices: Float[Tensor, "B M N"]) -> None:
        count, rows, columns = matrices.shape
        self.items = list(range(count))  # of the first batch, which are here
        self._smaller = min(rows, columns)
        self._of_left = False  # whether the bases are of left singular vectors
        self._basis = matrices.new_empty(count, columns, 0)
        self._sizes = [0] * count  # number of columns of each basis
        self._arbitrary: dict[tuple[int, int], Tensor] = {}  # columns, by their length and number
        self._resize([min(self._smaller, 2 * _ALIGNED)] * count)
        for _ in range(2):  # nothing is known of the singular vectors yet
            half = _orthonormal(torch.bmm(matrices, self._basis))
            self._basis = _orthonormal(torch.bmm(matrices.mT, half))

    def part(self, positions: Sequence[int], sizes: Sequence[int] | None = None) -> "ThresholdTracker":
        """The same for some of the items, by their positions here, with bases of other sizes if given."""
        part = object.__new__(ThresholdTracker)
        part.items = [self.items[position] for position in positions]
        part._smaller, part._of_left, part._arbitrary = self._smaller, self._of_left, self._arbitrary
        part._basis = self._basis[list(positions)]
        part._sizes = [self._sizes[position] for position in positions]
        part._resize(part._sizes if sizes is None else sizes)
        return part

    def without(self, items: Collection[int]) -> "ThresholdTracker | None":
        """The same but for some items, by their numbers in the first batch; None if there are no others."""
        gone, going = _positions([item in items for item in self.items])
        if not going:
            return None
        return self.part(going) if gone else self

    def __call__(self, matrices: Float[Tensor, "B M N"], threshold: float) -> list[Lowered]:
        """Of all items, in one group or several."""
        if threshold < _SLIGHT:
            return [self._slightly(matrices, threshold)]
        few = [size <= _MOST * self._smaller for size in self._sizes]
        if not any(few):
            return [self._whole(matrices, threshold)]
        if not all(few):
            return self._apart(matrices, threshold, few)
        steps, reach = next((steps, reach) for first, steps, reach in _SCHEDULE if threshold >= first)
        sizes = self._sizes
        found, least = self._on_subspace(matrices, threshold, steps)
        held = [value <= reach * threshold for value in least]  # false for what is not a number
        if all(held):
            return [found]
        good, bad = _positions(held)
        larger = self.part(bad, [min(self._smaller, 2 * sizes[position]) for position in bad])
        again = larger(matrices[bad], threshold)
        return [Lowered(self.part(good), found.left[good], found.right[good]), *again] if good else again

    def _apart(self, matrices: Tensor, threshold: float, first: Sequence[bool]) -> list[Lowered]:
        return [
            lowered
            for positions in _positions(first)
            for lowered in self.part(positions)(matrices[positions], threshold)
        ]

    def _on_subspace(self, matrices: Tensor, threshold: float, steps: int) -> tuple[Lowered, list[float]]:
        """From matrices on the subspaces, after these have been turned; and the least singular values there."""
        turned, basis, blank = matrices.mT if self._of_left else matrices, self._basis, self._blank()
        product = torch.bmm(turned, basis)
        if steps == 0:  # half a step, to the other side
            turned, self._of_left = turned.mT, not self._of_left
            basis = _orthonormal(product, blank)
            product = torch.bmm(turned, basis)
        for step in range(steps):  # each takes out one root of the Chebyshev polynomial
            root = 0.5 * (_DAMPED * threshold) ** 2 * (1 + math.cos(math.pi * (step + 0.5) / steps))
            basis = _orthonormal(torch.baddbmm(basis, turned.mT, product, beta=-root), blank)
            product = torch.bmm(turned, basis)
        values, rotation = _right_singular(product, blank)
        last = values if blank is None else values.masked_fill(blank, torch.inf)  # which are sorted to the end
        counted = torch.stack(((values > threshold).sum(-1).to(values), last.amin(-1)))
        ranks, least = counted.tolist()
        largest = int(max(ranks))
        rotation = rotation.to(product.dtype)
        lowered = (1 - threshold / values[:, None, :largest]).relu().to(product.dtype)
        second = torch.bmm(basis, rotation[..., :largest] * lowered)
        return self._kept(torch.bmm(product, rotation), second, ranks, threshold), least

    def _slightly(self, matrices: Tensor, threshold: float) -> Lowered:
        """As above for a small threshold: the lengths of nearly orthogonal columns count as singular values.

        The bases get no further columns, as what is still to be lowered or raised is slight.
        """
        turned = matrices.mT if self._of_left else matrices
        basis = _orthonormal(self._basis, self._blank())
        product = torch.bmm(turned, basis)
        lengths = torch.linalg.vector_norm(product, dim=-2, keepdim=True)
        basis = basis * (1 - threshold / lengths).relu()  # of a column of zeros it is zero
        self._basis, self._of_left = product, not self._of_left
        return Lowered(self, product, basis) if self._of_left else Lowered(self, basis, product)

    def _whole(self, matrices: Tensor, threshold: float) -> Lowered:
        """From all singular values, by the smaller Gram matrix; in double precision, as that holds their squares."""
        self._of_left = matrices.shape[1] > matrices.shape[2]
        turned = matrices.mT if self._of_left else matrices
        exact = turned.double()
        squares, vectors = eigh(torch.bmm(exact, exact.mT))
        values, vectors = squares.clamp(min=0).sqrt().flip(-1), vectors.flip(-1).to(matrices.dtype)
        ranks = (values > threshold).sum(-1).tolist()
        largest = max(ranks)
        lowered = (1 - threshold / values[:, None, :largest]).relu().to(matrices.dtype)
        self._sizes = [self._smaller] * len(self.items)
        return self._kept(vectors, torch.bmm(turned.mT, vectors[..., :largest]) * lowered, ranks, threshold)

    def _kept(self, first: Tensor, second: Tensor, ranks: Sequence[float], threshold: float) -> Lowered:
        """The factors in order; the first, which has columns beyond the rank, is the next basis, of the other side."""
        share = min(max(math.sqrt(threshold / _FULL_SHARE), _SHARES[0]), _SHARES[1])
        wanted = [max(int((1 + share) * rank), int(rank) + _SPARE) for rank in ranks]
        self._basis = _unit(first)
        self._resize([min(self._smaller, -(-columns // _ALIGNED) * _ALIGNED) for columns in wanted])
        self._of_left = not self._of_left
        first = first[..., : second.shape[-1]]
        return Lowered(self, first, second) if self._of_left else Lowered(self, second, first)

    def _blank(self) -> Bool[Tensor, "B K"] | None:
        """The columns of each basis that are none of its own; None where all have as many."""
        width = self._basis.shape[-1]
        if min(self._sizes) == width:
            return None
        device = self._basis.device
        return torch.arange(width, device=device) >= torch.tensor(self._sizes, device=device)[:, None]

    def _resize(self, sizes: Sequence[int]) -> None:
        """The first columns of each basis; where it has too few, with arbitrary ones that are orthogonal to them."""
        old, self._sizes = self._sizes, list(sizes)
        width = max(sizes)
        basis = self._basis[..., :width]
        growing = [size for size, new in zip(old, sizes, strict=True) if new > size]
        if growing:
            first, (_, rows, given) = min(growing), basis.shape
            basis = pad(basis, (0, width - given))
            begin, end = (torch.tensor(edges, device=basis.device)[:, None, None] for edges in (old, sizes))
            column = torch.arange(first, width, device=basis.device)
            added = self._columns(rows, first, width) * ((column >= begin) & (column < end))
            basis[..., first:] += _unit(added - torch.bmm(basis, torch.bmm(basis.mT, added)))
        self._basis = basis
        blank = self._blank()
        if blank is not None:
            self._basis = basis.masked_fill(blank[:, None], 0.0)

    def _columns(self, rows: int, first: int, last: int) -> Float[Tensor, "rows columns"]:
        """Arbitrary ones from a number on, each of which is always the same."""
        blocks = range(first // _ALIGNED, -(-last // _ALIGNED))
        for block in blocks:
            if (rows, block) not in self._arbitrary:
                made = hashed_uniform((rows, _ALIGNED), block, self._basis.device, self._basis.dtype)
                self._arbitrary[rows, block] = made - 0.5
        made = torch.cat([self._arbitrary[rows, block] for block in blocks], 1)
        return made[:, first - blocks[0] * _ALIGNED : last - blocks[0] * _ALIGNED]


def _positions(first: Sequence[bool]) -> tuple[list[int], list[int]]:
    """Where it is true, and where it is not."""
    true, false = ([place for place, value in enumerate(first) if bool(value) is kind] for kind in (True, False))
    return true, false


def _unit(matrix: Tensor) -> Tensor:
    """Columns of length one; those that are zero remain so."""
    lengths = torch.linalg.vector_norm(matrix, dim=-2, keepdim=True)
    return matrix / lengths.clamp(min=torch.finfo(matrix.dtype).tiny)


def _right_singular(matrix: Tensor, blank: Tensor | None) -> tuple[Tensor, Tensor]:
    """Singular values, the largest first, and right singular vectors, of columns of very different lengths.

    Those of blank columns are zero, and come last.
    """
    common = torch.bmm(matrix.mT, matrix).double()
    if blank is not None:
        common.diagonal(dim1=-2, dim2=-1).masked_fill_(blank, -1.0)
    squares, vectors = eigh(common)
    return squares.clamp(min=0).sqrt().flip(-1), vectors.flip(-1)


def _orthonormal(matrix: Tensor, blank: Tensor | None = None) -> Tensor:
    """Orthonormal bases of the columns, each of which adds what it has beyond those before it; blank ones stay zero.

    They are made by Cholesky factors, unless columns are too much alike for these.
    """
    basis = matrix
    alike = [False] * len(matrix)
    for _ in range(2):
        common = torch.bmm(basis.mT, basis)
        if blank is not None:
            common.diagonal(dim1=-2, dim2=-1).masked_fill_(blank, 1.0)
        lengths = common.diagonal(dim1=-2, dim2=-1).sqrt()
        factor, failed = torch.linalg.cholesky_ex(common / lengths[:, None] / lengths[..., None], upper=True)
        smallest = factor.diagonal(dim1=-2, dim2=-1).amin(-1).masked_fill(failed > 0, 0.0).tolist()
        alike = [before or not least > _ALIKE for before, least in zip(alike, smallest, strict=True)]
        if all(alike):
            break
        basis = torch.linalg.solve_triangular(factor * lengths[:, None], basis, upper=True, left=False)
        if all(bad or least > _APART for bad, least in zip(alike, smallest, strict=True)):
            break
    if not any(alike):
        return basis
    positions, _ = _positions(alike)
    whole = torch.linalg.qr(_unit(matrix[positions]))[0]
    if blank is not None:
        whole = whole.masked_fill(blank[positions, None], 0.0)
    if all(alike):
        return whole
    basis[positions] = whole
    return basis
