"""Thresholded singular values of matrices that change little from one call to the next."""

import math
from collections.abc import Collection, Iterable, Sequence
from copy import copy
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional.hashing import hashed_uniform
from torchsep.functional.linalg.matrix_functions import eigh

__all__ = ["Lowered", "ThresholdTracker", "joined", "products"]

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

    All matrices of a tracker have subspaces of as many dimensions. Where they come to need different ones they part,
    and where they meet again they can be :func:`joined`: what is done for a matrix never depends on the others.

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
        self.of_left = False  # whether the bases are of left singular vectors
        self.basis = matrices.new_empty(count, columns, 0)
        self.resize(min(self._smaller, 2 * _ALIGNED))
        for _ in range(2):  # nothing is known of the singular vectors yet
            half = _orthonormal(products(matrices, self.basis))
            self.basis = _orthonormal(products(matrices.mT, half))

    @property
    def kind(self) -> tuple[bool, int]:
        """Trackers of which this is the same can be joined."""
        return self.of_left, self.basis.shape[-1]

    def part(self, positions: Sequence[int]) -> "ThresholdTracker":
        """The same for some of the items, by their positions here."""
        part = copy(self)
        part.items = [self.items[position] for position in positions]
        part.basis = _some(self.basis, positions)
        return part

    def without(self, items: Collection[int]) -> "ThresholdTracker | None":
        """The same but for some items, by their numbers in the first batch; None if there are no others."""
        gone, going = _positions([item in items for item in self.items])
        if not going:
            return None
        return self.part(going) if gone else self

    def joined(self, others: Sequence["ThresholdTracker"]) -> "ThresholdTracker":
        """One for the items of others of the same kind, too, in the order of their numbers."""
        if not others:
            return self
        whole = copy(self)
        items = [item for tracker in (self, *others) for item in tracker.items]
        order = sorted(range(len(items)), key=items.__getitem__)
        whole.items = [items[position] for position in order]
        whole.basis = torch.cat([tracker.basis for tracker in (self, *others)])[order]
        return whole

    def __call__(self, matrices: Float[Tensor, "B M N"], threshold: float) -> list[Lowered]:
        """Of all items, in one group or several."""
        if threshold < _SLIGHT:
            return [self._slightly(matrices, threshold)]
        width = self.basis.shape[-1]
        if width > _MOST * self._smaller:
            return self._whole(matrices, threshold)
        steps, reach = next((steps, reach) for first, steps, reach in _SCHEDULE if threshold >= first)
        side = self.of_left
        product, basis = self._turned(matrices, threshold, steps)
        values, rotation = _right_singular(product)
        held, larger = _positions([least <= reach * threshold for least in values[:, -1].tolist()])  # not if NaN
        first = products(product, rotation.to(product.dtype))
        self._take(first)
        found = self._lowered(held, first, basis, rotation, values, threshold)
        if larger:
            again, given = self.part(larger), _some(matrices, larger)
            again.resize(min(self._smaller, 2 * width))
            if again.of_left != side:  # half a step more, or these would stay on the other side than the others
                again.basis = _orthonormal(products(given if side else given.mT, again.basis))
                again.of_left = side
            found += again(given, threshold)
        return found

    def _turned(self, matrices: Tensor, threshold: float, steps: int) -> tuple[Tensor, Tensor]:
        """The matrices times the subspaces, after these have been turned, and the bases of these."""
        turned, basis = matrices.mT if self.of_left else matrices, self.basis
        product = products(turned, basis)
        if steps == 0:  # half a step, to the other side
            turned, self.of_left = turned.mT, not self.of_left
            basis = _orthonormal(product)
            product = products(turned, basis)
        for step in range(steps):  # each takes out one root of the Chebyshev polynomial
            root = 0.5 * (_DAMPED * threshold) ** 2 * (1 + math.cos(math.pi * (step + 0.5) / steps))
            basis = _orthonormal(products(turned.mT, product).sub_(basis, alpha=root))
            product = products(turned, basis)
        return product, basis

    def _slightly(self, matrices: Tensor, threshold: float) -> Lowered:
        """As above for a small threshold: the lengths of nearly orthogonal columns count as singular values.

        The bases get no further columns, as what is still to be lowered or raised is slight.
        """
        turned = matrices.mT if self.of_left else matrices
        basis = _orthonormal(self.basis)
        product = products(turned, basis)
        lengths = torch.linalg.vector_norm(product, dim=-2, keepdim=True)
        basis = basis * (1 - threshold / lengths).relu()  # of a column of zeros it is zero
        self.basis, self.of_left = product, not self.of_left
        return Lowered(self, product, basis) if self.of_left else Lowered(self, basis, product)

    def _whole(self, matrices: Tensor, threshold: float) -> list[Lowered]:
        """From all singular values, by the smaller Gram matrix; in double precision, as that holds their squares."""
        self.of_left = matrices.shape[1] > matrices.shape[2]
        turned = matrices.mT if self.of_left else matrices
        exact = turned.double()
        squares, vectors = eigh(products(exact, exact.mT))
        values, vectors = squares.clamp(min=0).sqrt().flip(-1), vectors.flip(-1)
        first = vectors.to(matrices.dtype)
        self._take(first)
        return self._lowered(range(len(matrices)), first, turned.mT, vectors, values, threshold)

    def _take(self, basis: Tensor) -> None:
        """Take columns for the next bases, those of the other side."""
        self.basis, self.of_left = _unit(basis), not self.of_left

    def _lowered(
        self,
        positions: Sequence[int],
        first: Float[Tensor, "B M K"],
        other: Float[Tensor, "B N L"],
        rotation: Float[Tensor, "B L K"],
        values: Float[Tensor, "B K"],
        threshold: float,
    ) -> list[Lowered]:
        """The factors ``first`` and ``other @ rotation``, its columns weighed, of some items, in groups of one width.

        The width, that of the next basis, is more than the rank.
        """
        share = min(max(math.sqrt(threshold / _FULL_SHARE), _SHARES[0]), _SHARES[1])
        groups: dict[int, list[int]] = {}
        ranks = (values > threshold).sum(-1).tolist()
        for position in positions:
            wanted = max(int((1 + share) * ranks[position]), ranks[position] + _SPARE)
            width = min(self._smaller, -(-wanted // _ALIGNED) * _ALIGNED)
            groups.setdefault(width, []).append(position)
        weighed = (rotation * (1 - threshold / values).relu()[:, None]).to(first.dtype)
        found = []
        for width, group in groups.items():
            tracker, largest = self.part(group), max(ranks[position] for position in group)
            tracker.resize(width)
            # As many columns as the width whatever the ranks: how a column is rounded can depend on their number.
            second = products(_some(other, group), _some(weighed, group)[..., :width])[..., :largest]
            factors = _some(first, group)[..., :largest], second
            found.append(Lowered(tracker, *(factors if self.of_left else factors[::-1])))
        return found

    def resize(self, width: int) -> None:
        """The first columns of each basis, or more, arbitrary ones that are orthogonal to them."""
        count, rows, given = self.basis.shape
        if width <= given:
            self.basis = self.basis[..., :width]
            return
        added = hashed_uniform((rows, width - given), given, self.basis.device, self.basis.dtype) - 0.5
        added = added.expand(count, -1, -1)
        added = _unit(added - products(self.basis, products(self.basis.mT, added)))
        self.basis = torch.cat((self.basis, added), -1)


def products(
    left: Float[Tensor, "B M K"], right: Float[Tensor, "B K N"], out: Float[Tensor, "B M N"] | None = None
) -> Float[Tensor, "B M N"]:
    """The products of matrices; on a processor one by one, so that no digit of one depends on the others.

    Those of a batch at once are rounded in a way that depends on its size there.
    """
    if left.device.type != "cpu":
        return torch.bmm(left, right) if out is None else torch.bmm(left, right, out=out)
    if out is None:
        out = left.new_empty(len(left), left.shape[1], right.shape[2])
    for one, other, into in zip(left.unbind(), right.unbind(), out.unbind(), strict=True):
        torch.mm(one, other, out=into)
    return out


def _some(items: Tensor, positions: Sequence[int]) -> Tensor:
    return items if len(positions) == len(items) else items[list(positions)]


def _positions(first: Sequence[bool]) -> tuple[list[int], list[int]]:
    """Where it is true, and where it is not."""
    true, false = ([place for place, value in enumerate(first) if bool(value) is kind] for kind in (True, False))
    return true, false


def joined(trackers: Iterable[ThresholdTracker]) -> list[ThresholdTracker]:
    """Trackers of the same items, as few as do."""
    kinds: dict[tuple[bool, int], list[ThresholdTracker]] = {}
    for tracker in trackers:
        kinds.setdefault(tracker.kind, []).append(tracker)
    return [first.joined(others) for first, *others in kinds.values()]


def _unit(matrix: Tensor) -> Tensor:
    """Columns of length one; those that are zero remain so."""
    lengths = torch.linalg.vector_norm(matrix, dim=-2, keepdim=True)
    return matrix / lengths.clamp(min=torch.finfo(matrix.dtype).tiny)


def _right_singular(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values, the largest first, and right singular vectors, of columns of very different lengths."""
    squares, vectors = eigh(products(matrix.mT, matrix).double())
    return squares.clamp(min=0).sqrt().flip(-1), vectors.flip(-1)


def _orthonormal(matrix: Tensor) -> Tensor:
    """Orthonormal bases of the columns, each of which adds what it has beyond those before it.

    They are made by Cholesky factors, unless columns are too much alike for these.
    """
    basis, smallest = _apart(matrix)
    near = [position for position, least in enumerate(smallest) if _ALIKE < least <= _APART]
    if near:
        again, twice = _apart(_some(basis, near))
        _put(again, basis, near)
        for position, least in zip(near, twice, strict=True):
            smallest[position] = least
    alike = [position for position, least in enumerate(smallest) if not least > _ALIKE]
    if alike:
        _put(torch.linalg.qr(_unit(_some(matrix, alike)))[0], basis, alike)
    return basis


def _apart(matrix: Tensor) -> tuple[Tensor, list[float]]:
    """The columns without what they have of those before them, and how much of its length is left of the worst.

    Where that is little, they are of no use.
    """
    common = products(matrix.mT, matrix)
    lengths = common.diagonal(dim1=-2, dim2=-1).sqrt()
    factor, failed = torch.linalg.cholesky_ex(common / lengths[:, None] / lengths[..., None], upper=True)
    smallest = factor.diagonal(dim1=-2, dim2=-1).amin(-1).masked_fill(failed > 0, 0.0)
    return torch.linalg.solve_triangular(factor * lengths[:, None], matrix, upper=True, left=False), smallest.tolist()


def _put(found: Tensor, items: Tensor, positions: Sequence[int]) -> None:
    """Write what :func:`_some` reads."""
    if len(positions) == len(items):
        items.copy_(found)
    else:
        items[list(positions)] = found
