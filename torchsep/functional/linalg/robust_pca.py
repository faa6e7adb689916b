"""A matrix as the sum of one of low rank and a sparse one."""

import math
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from torchsep.checks import check_integer, check_number
from torchsep.functional._chunks import BlockSize
from torchsep.functional._custom_ops import operator, register_gradient
from torchsep.functional.linalg._subspace import Lowered, ThresholdTracker, joined, products
from torchsep.functional.linalg.matrix_functions import (
    singular_value_threshold,
    spectral_norm,
    svd,
    threshold_derivative,
)

__all__ = ["low_rank_and_sparse"]

# For a matrix of spectral norm one: the first threshold of the singular values, its decrease and its least value.
_FIRST = 0.8
_DECREASE = 1.5
_LEAST = 0.8e-7

# Of matrices whose smaller side is no longer than this, all singular values are found, of a whole batch together.
_SMALL = 80

# Elements that are worked on together, so that a processor's cache holds them and what is made of them.
_TOGETHER = 1 << 17

# Elements of large matrices whose singular vectors are followed together; all that is kept takes some times that room.
_ITEMS_TOGETHER = BlockSize(cpu=1 << 22, accelerator=1 << 27)

# Rows whose lengths are a multiple of so many elements are multiplied fastest.
_ALIGNED = 16

# States from which backward makes the others again.
_SNAPSHOTS = 8


def low_rank_and_sparse(
    matrix: Float[Tensor, "*any F N"], max_iter: int = 100, tol: float = 1e-7
) -> tuple[Float[Tensor, "*any F N"], Float[Tensor, "*any F N"]]:
    r"""The parts of low rank and of few elements whose sum is a matrix: robust principal component analysis.

    They are least in :math:`\|L\|_* + \lambda \|S\|_1` among those with :math:`L + S = M`, where
    :math:`\lambda = 1 / \sqrt{\max(F, N)}`, found by the inexact method of augmented Lagrange multipliers. Of large
    matrices the singular vectors above the threshold are followed from one iteration to the next, which is within 1e-4
    of what whole decompositions give.

    Args:
        matrix: :math:`M`. One with NaN or infinite elements gives NaN.
        max_iter: the most that are made.
        tol: a matrix is done when :math:`\|M - L - S\|_F` is below so much of :math:`\|M\|_F`, or below what its
            precision resolves.

    Gradient:
        Exact, also where singular values meet; the number of iterations is held. It keeps the matrix, and makes the
        iterations again from eight states, whatever their number.

    Example:
        >>> matrix = torch.outer(torch.arange(1.0, 9.0), torch.arange(1.0, 11.0))
        >>> matrix[2, 3] += 50
        >>> low_rank, sparse = low_rank_and_sparse(matrix)
        >>> sparse[2, 2:5].round().abs(), torch.linalg.matrix_rank(low_rank, rtol=1e-3).item()
        (tensor([ 0., 50.,  0.]), 1)

    References:
        Z. Lin, M. Chen and Y. Ma, "The augmented Lagrange multiplier method for exact recovery of corrupted low-rank
        matrices", arXiv:1009.5055, 2010.
        E. J. Candès, X. Li, Y. Ma and J. Wright, "Robust principal component analysis?", Journal of the ACM, 2011.
    """
    check_integer(max_iter, "max_iter", at_least=1)
    check_number(tol, "tol", at_least=0.0)
    flat = matrix.reshape(-1, *matrix.shape[-2:])
    held = flat.detach()
    bad = ~held.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
    peak = held.abs().amax((-2, -1), keepdim=True)
    silent = (peak == 0) | bad
    unit = (flat / peak.masked_fill(silent, 1.0)).masked_fill(bad, 0.0)
    norm = spectral_norm(unit)[:, None, None].masked_fill(silent, 1.0)
    unit = unit / norm
    weight = 1 / math.sqrt(max(matrix.shape[-2:]))
    start = unit * (_FIRST / (unit.abs().amax((-2, -1), keepdim=True) / weight).clamp(min=1.0))
    low_rank, sparse, _ = _alternate(unit, start, max_iter, float(tol))
    scale = (norm * peak).masked_fill(bad, torch.nan)
    return (low_rank * scale).view(matrix.shape), (sparse * scale).view(matrix.shape)


def _threshold(iteration: int) -> float:
    return max(_FIRST * _DECREASE**-iteration, _LEAST)


def _bound(matrix: Tensor, iteration: int) -> float:
    """The threshold of the sparse part."""
    return _threshold(iteration) / math.sqrt(max(matrix.shape[-2:]))


def _shrink(matrix: Tensor, multiplier: Tensor, low_rank: Tensor, iteration: int) -> tuple[Tensor, Tensor]:
    """The sparse part, and the next multiplier over the weight of the constraint.

    That is all of the rest that the sparse part leaves, so that what the two parts lack, which is far smaller than
    they are, never comes from a difference of them.
    """
    bound = _bound(matrix, iteration)
    rest = matrix - low_rank + multiplier
    clipped = rest.clamp(-bound, bound)
    return rest - clipped, clipped


def _advance(low_rank: Tensor, multiplier: Tensor, clipped: Tensor, iteration: int) -> tuple[Tensor, Tensor]:
    """What the next low-rank part is made of, and the next multiplier."""
    ratio = _threshold(iteration + 1) / _threshold(iteration)
    return low_rank - multiplier + (1 + ratio) * clipped, ratio * clipped


def _tolerance(matrix: Tensor, tol: float) -> Tensor:
    return torch.linalg.vector_norm(matrix, dim=(-2, -1)) * max(tol, 2.5 * torch.finfo(matrix.dtype).eps)


@operator(
    lambda matrix, start, max_iter, tol: (  # noqa: ARG005
        torch.empty_like(matrix, memory_format=torch.contiguous_format),
        torch.empty_like(matrix, memory_format=torch.contiguous_format),
        matrix.new_empty(len(matrix), dtype=torch.long),
    )
)
def _alternate(matrix: Tensor, start: Tensor, max_iter: int, tol: float) -> tuple[Tensor, Tensor, Tensor]:
    """The parts of matrices of spectral norm one, and the number of iterations that each has taken."""
    if min(matrix.shape[-2:]) <= _SMALL or not len(matrix):
        return _together(matrix, start, max_iter, tol)
    low_rank, sparse = (torch.empty_like(matrix, memory_format=torch.contiguous_format) for _ in range(2))
    count = torch.empty(len(matrix), dtype=torch.long, device=matrix.device)
    room = _ITEMS_TOGETHER.on(matrix.device)
    together = max(1, room // matrix[0].numel())
    groups = zip(*(tensor.split(together) for tensor in (matrix, start, low_rank, sparse, count)), strict=True)
    for own, multiplier, *into in groups:
        _followed(own, multiplier, max_iter, tol, (into[0], into[1], into[2]))
    return low_rank, sparse, count


def _together(matrix: Tensor, multiplier: Tensor, max_iter: int, tol: float) -> tuple[Tensor, Tensor, Tensor]:
    """The parts of small matrices, each held when it is done."""
    low_rank = sparse = torch.zeros_like(matrix, memory_format=torch.contiguous_format)
    count = torch.zeros(len(matrix), dtype=torch.long, device=matrix.device)
    active = torch.ones_like(count, dtype=torch.bool)
    tolerance = _tolerance(matrix, tol)
    target = matrix + multiplier
    for iteration in range(max_iter):
        lowered = singular_value_threshold(target, _threshold(iteration))
        rest, clipped = _shrink(matrix, multiplier, lowered, iteration)
        low_rank = torch.where(active[:, None, None], lowered, low_rank)
        sparse = torch.where(active[:, None, None], rest, sparse)
        count += active
        active = active & ~(torch.linalg.vector_norm(clipped - multiplier, dim=(-2, -1)) <= tolerance)
        if not active.any():
            break
        target, multiplier = _advance(lowered, multiplier, clipped, iteration)
    return low_rank, sparse, count


def _followed(
    matrix: Tensor, multiplier: Tensor, max_iter: int, tol: float, into: tuple[Tensor, Tensor, Tensor]
) -> None:
    """The parts of large matrices, and the number of iterations, each written when it is done."""
    count, _, columns = matrix.shape
    tolerance = _tolerance(matrix, tol).tolist()
    weight = _bound(matrix, 0) / _threshold(0)
    # Added columns of zeros, which stay zero, make products faster, as all rows start at a multiple of their number.
    matrix, multiplier = (pad(tensor, (0, -columns % _ALIGNED)).contiguous() for tensor in (matrix, multiplier))
    target, sparse = matrix + multiplier, torch.empty_like(matrix)
    trackers = [ThresholdTracker(target)]
    pieces = _pieces(matrix, multiplier, target, sparse)
    room = matrix.new_empty(2, max(piece[0].numel() for _, piece in pieces))
    for iteration in range(max_iter):
        now, after = _threshold(iteration), _threshold(iteration + 1)
        found = [lowered for tracker in trackers for lowered in tracker(_of(target, tracker), now)]
        active = {item for lowered in found for item in lowered.tracker.items}
        for lowered in found:
            _put(lowered, target)
        lacks = target.new_zeros(count)
        for items, piece in pieces:
            if active.intersection(items):
                lacks[items.start : items.stop] += _shrink_in_place(piece, room, weight * now, after / now)
        last = iteration + 1 == max_iter
        done = {item for item, lack in enumerate(lacks.tolist()) if last or math.sqrt(lack) <= tolerance[item]}
        for lowered in found:
            _finish(lowered, sparse, done, iteration + 1, into)
        trackers = joined(going for lowered in found if (going := lowered.tracker.without(done)) is not None)
        if not trackers:
            break


def _finish(
    lowered: Lowered, sparse: Tensor, done: set[int], iterations: int, into: tuple[Tensor, Tensor, Tensor]
) -> None:
    """Write the parts of the items that are done."""
    columns = into[0].shape[-1]
    for left, right, item in zip(lowered.left, lowered.right, lowered.tracker.items, strict=True):
        if item in done:
            torch.mm(left, right[:columns].mT, out=into[0][item])
            into[1][item] = sparse[item, :, :columns]
            into[2][item] = iterations


def _of(matrices: Tensor, tracker: ThresholdTracker) -> Tensor:
    """Those that a tracker is for."""
    return matrices if len(tracker.items) == len(matrices) else matrices[tracker.items]


def _put(lowered: Lowered, target: Tensor) -> None:
    """Write the product of the factors in the place of each item."""
    if len(lowered.tracker.items) == len(target):
        products(lowered.left, lowered.right.mT, out=target)
    else:
        target[lowered.tracker.items] = products(lowered.left, lowered.right.mT)


def _pieces(*tensors: Tensor) -> list[tuple[range, tuple[Tensor, ...]]]:
    """Parts ``(items, elements)`` of contiguous tensors that stay in cache, and of which items they are."""
    count, size = len(tensors[0]), tensors[0][0].numel()
    room = _TOGETHER if tensors[0].device.type == "cpu" else count * size
    rows = [tensor.view(count, size) for tensor in tensors]
    if size >= room:
        return [
            (range(item, item + 1), tuple(row[item : item + 1, first : first + room] for row in rows))
            for item in range(count)
            for first in range(0, size, room)
        ]
    together = room // size
    return [
        (range(item, min(item + together, count)), tuple(row[item : item + together] for row in rows))
        for item in range(0, count, together)
    ]


def _shrink_in_place(pieces: tuple[Tensor, ...], room: Tensor, bound: float, ratio: float) -> Float[Tensor, " items"]:
    """What :func:`_shrink` and :func:`_advance` do, in place, of a target that holds the low-rank part.

    Returns the square of what the parts lack.
    """
    matrix, multiplier, target, sparse = pieces
    rest, clipped = (part[: matrix.numel()].view(matrix.shape) for part in room)
    torch.sub(matrix, target, out=rest).add_(multiplier)
    torch.clamp(rest, -bound, bound, out=clipped)
    torch.sub(rest, clipped, out=sparse)
    lack = torch.sub(clipped, multiplier, out=rest)
    target.add_(lack).add_(clipped, alpha=ratio)
    torch.mul(clipped, ratio, out=multiplier)
    if len(lack) == 1:
        return torch.dot(lack[0], lack[0])[None]  # in a fraction of the time
    return torch.linalg.vector_norm(lack, dim=1).square()


@operator(
    lambda matrix, start, count, low_rank, sparse: (  # noqa: ARG005
        torch.empty_like(matrix, memory_format=torch.contiguous_format),
        torch.empty_like(matrix, memory_format=torch.contiguous_format),
    )
)
def _alternate_gradient(
    matrix: Tensor, start: Tensor, count: Tensor, low_rank: Tensor, sparse: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients with respect to matrices and start, of those with respect to the parts."""
    return _Reverse(matrix, count, low_rank, sparse).run(start)


class _Reverse:
    """The iterations backwards, each made again from the nearest state kept before it."""

    def __init__(self, matrix: Tensor, count: Tensor, low_rank: Tensor, sparse: Tensor) -> None:
        self._matrix, self._count = matrix, count
        self._of_low_rank, self._of_sparse = low_rank, sparse
        self._of_matrix = torch.zeros_like(matrix, memory_format=torch.contiguous_format)
        self._of_target, self._of_multiplier = self._of_matrix.clone(), self._of_matrix.clone()

    def run(self, start: Tensor) -> tuple[Tensor, Tensor]:
        self._segment((self._matrix + start, start), 0, int(self._count.max()), _SNAPSHOTS)
        return self._of_matrix + self._of_target, self._of_target + self._of_multiplier

    def _segment(self, state: tuple[Tensor, Tensor], first: int, count: int, slots: int) -> None:
        """Go back over some iterations, of which the first one's state is given."""
        if count == 1 or not slots:
            for last in reversed(range(first, first + count)):
                self._back(*self._forward(state, first, last), last)
            return
        pieces = min(count, slots + 1)
        edges = [first + count * piece // pieces for piece in range(pieces + 1)]
        states = [state]
        for begin, end in pairwise(edges[:-1]):
            states.append(self._forward(states[-1], begin, end))
        for piece in reversed(range(pieces)):  # as states are used up, more may be kept within a piece
            self._segment(states.pop(), edges[piece], edges[piece + 1] - edges[piece], slots - piece)

    def _forward(self, state: tuple[Tensor, Tensor], first: int, last: int) -> tuple[Tensor, Tensor]:
        for iteration in range(first, last):
            target, multiplier = state
            low_rank = singular_value_threshold(target, _threshold(iteration))
            clipped = _shrink(self._matrix, multiplier, low_rank, iteration)[1]
            state = _advance(low_rank, multiplier, clipped, iteration)
        return state

    def _back(self, target: Tensor, multiplier: Tensor, iteration: int) -> None:
        """From the gradients with respect to the state after an iteration to those before it."""
        left, values, right = svd(target)
        tau = values.new_tensor(_threshold(iteration))
        low_rank = (left * (values - tau).relu()[..., None, :]) @ right.mT
        rest = self._matrix - low_rank + multiplier
        ratio = _threshold(iteration + 1) / _threshold(iteration)
        last = (self._count == iteration + 1)[:, None, None]
        of_sparse = torch.where(last, self._of_sparse, 0.0)
        of_clipped = (1 + ratio) * self._of_target + ratio * self._of_multiplier - of_sparse
        of_rest = of_sparse + torch.where(rest.abs() < _bound(rest, iteration), of_clipped, 0.0)
        of_low_rank = torch.where(last, self._of_low_rank, self._of_target) - of_rest
        self._of_multiplier = of_rest - self._of_target
        self._of_target = threshold_derivative(left, values, right, tau, of_low_rank)
        self._of_matrix += of_rest


def _setup(ctx: Any, inputs: tuple[Tensor, Tensor, int, float], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[0], inputs[1], output[2])


def _backward(ctx: Any, low_rank: Tensor, sparse: Tensor, _: None) -> tuple[Tensor, Tensor, None, None]:
    matrix, start, count = ctx.saved_tensors
    return *_alternate_gradient(matrix, start, count, low_rank, sparse), None, None


register_gradient(_alternate, _setup, _backward)
