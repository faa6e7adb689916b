"""Robust PCA: a matrix as the sum of a low-rank and a sparse one."""

import math
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_integer, check_number
from torchsep.functional._chunks import BlockSize
from torchsep.functional._custom_ops import operator, register_gradient
from torchsep.functional.linalg._subspace import SubspaceTracker
from torchsep.functional.linalg.matrix_functions import (
    singular_value_threshold,
    spectral_norm,
    svd,
    threshold_derivative,
)

__all__ = ["low_rank_and_sparse"]

# Singular value thresholds of a matrix of spectral norm one: the first one, the ratio of successive ones, the last one.
_FIRST = 0.8
_DECREASE = 1.5
_LAST = 0.8e-7

# Matrices whose smaller side is at most this long are decomposed in full, the whole batch at once.
_SMALL = 80

# Elements of a block that stays in cache with its intermediate results.
_BLOCK = BlockSize(cpu=1 << 17, accelerator=1 << 27)

# Number of checkpoints from which the backward pass recomputes the iterations.
_CHECKPOINTS = 8


def low_rank_and_sparse(
    matrix: Float[Tensor, "*any F N"], max_iter: int = 100, tol: float = 1e-7
) -> tuple[Float[Tensor, "*any F N"], Float[Tensor, "*any F N"]]:
    r"""The low-rank and the sparse part of a matrix: robust principal component analysis.

    They minimise :math:`\|L\|_* + \lambda \|S\|_1` subject to :math:`L + S = M`, where
    :math:`\lambda = 1 / \sqrt{\max(F, N)}`, by the inexact augmented Lagrange multiplier method. For large matrices the
    singular vectors above the threshold are tracked over the iterations, which is within 1e-4 of full decompositions.

    Args:
        matrix: :math:`M`. Items with NaN or infinite elements return NaN.
        max_iter: maximum number of iterations.
        tol: a matrix has converged when :math:`\|M - L - S\|_F / \|M\|_F` is below this, or below the resolution of its
            precision.

    Gradient:
        Exact, also for repeated singular values, with the number of iterations fixed. Only the matrix is saved, and the
        iterations are recomputed from eight checkpoints.

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
    detached = flat.detach()
    bad = ~detached.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
    peak = detached.abs().amax((-2, -1), keepdim=True)
    silent = (peak == 0) | bad
    unit = (flat / peak.masked_fill(silent, 1.0)).masked_fill(bad, 0.0)
    norm = spectral_norm(unit)[:, None, None].masked_fill(silent, 1.0)
    unit = unit / norm
    weight = 1 / math.sqrt(max(matrix.shape[-2:]))
    initial = unit * (_FIRST / (unit.abs().amax((-2, -1), keepdim=True) / weight).clamp(min=1.0))
    low_rank, sparse, _ = _alternate(unit, initial, max_iter, float(tol))
    scale = (norm * peak).masked_fill(bad, torch.nan)
    return (low_rank * scale).view(matrix.shape), (sparse * scale).view(matrix.shape)


def _threshold(iteration: int) -> float:
    return max(_FIRST * _DECREASE**-iteration, _LAST)


def _bound(matrix: Tensor, iteration: int) -> float:
    """The soft threshold of the sparse part."""
    return _threshold(iteration) / math.sqrt(max(matrix.shape[-2:]))


def _shrink(matrix: Tensor, multiplier: Tensor, low_rank: Tensor, iteration: int) -> tuple[Tensor, Tensor]:
    """The sparse part, and the next multiplier divided by the penalty parameter.

    The multiplier is what soft thresholding removes. The small constraint residual is its change, and is never computed
    as a difference of the much larger parts.
    """
    bound = _bound(matrix, iteration)
    residual = matrix - low_rank + multiplier
    clipped = residual.clamp(-bound, bound)
    return residual - clipped, clipped


def _advance(low_rank: Tensor, multiplier: Tensor, clipped: Tensor, iteration: int) -> tuple[Tensor, Tensor]:
    """The target of the next low-rank approximation, and the next multiplier in its scale."""
    ratio = _threshold(iteration + 1) / _threshold(iteration)
    return low_rank - multiplier + (1 + ratio) * clipped, ratio * clipped


def _tolerance(matrix: Tensor, tol: float) -> Tensor:
    return torch.linalg.vector_norm(matrix, dim=(-2, -1)) * max(tol, 2.5 * torch.finfo(matrix.dtype).eps)


@operator(
    lambda matrix, initial, max_iter, tol: (  # noqa: ARG005
        torch.empty_like(matrix, memory_format=torch.contiguous_format),
        torch.empty_like(matrix, memory_format=torch.contiguous_format),
        matrix.new_empty(len(matrix), dtype=torch.long),
    )
)
def _alternate(matrix: Tensor, initial: Tensor, max_iter: int, tol: float) -> tuple[Tensor, Tensor, Tensor]:
    """The parts of matrices of spectral norm one, and the number of iterations of each."""
    if min(matrix.shape[-2:]) <= _SMALL:
        return _batched(matrix, initial, max_iter, tol)
    low_rank, sparse = (torch.empty_like(matrix, memory_format=torch.contiguous_format) for _ in range(2))
    count = torch.empty(len(matrix), dtype=torch.long, device=matrix.device)
    for item in range(len(matrix)):
        count[item] = _tracked(matrix[item], initial[item], max_iter, tol, into=(low_rank[item], sparse[item]))
    return low_rank, sparse, count


def _batched(matrix: Tensor, multiplier: Tensor, max_iter: int, tol: float) -> tuple[Tensor, Tensor, Tensor]:
    """The parts of small matrices, by full decompositions of the whole batch; converged items are frozen."""
    low_rank = sparse = torch.zeros_like(matrix, memory_format=torch.contiguous_format)
    count = torch.zeros(len(matrix), dtype=torch.long, device=matrix.device)
    active = torch.ones_like(count, dtype=torch.bool)
    tolerance = _tolerance(matrix, tol)
    target = matrix + multiplier
    for iteration in range(max_iter):
        thresholded = singular_value_threshold(target, _threshold(iteration))
        shrunk, clipped = _shrink(matrix, multiplier, thresholded, iteration)
        low_rank = torch.where(active[:, None, None], thresholded, low_rank)
        sparse = torch.where(active[:, None, None], shrunk, sparse)
        count += active
        active = active & ~(torch.linalg.vector_norm(clipped - multiplier, dim=(-2, -1)) <= tolerance)
        if not active.any():
            break
        target, multiplier = _advance(thresholded, multiplier, clipped, iteration)
    return low_rank, sparse, count


def _tracked(matrix: Tensor, multiplier: Tensor, max_iter: int, tol: float, into: tuple[Tensor, Tensor]) -> int:
    """Write the parts of one large matrix, by subspace tracking, and return the number of iterations."""
    tolerance, weight = float(_tolerance(matrix, tol)), _bound(matrix, 0) / _threshold(0)
    matrix, multiplier = (tensor.clone(memory_format=torch.contiguous_format) for tensor in (matrix, multiplier))
    low_rank, sparse = into
    target = matrix + multiplier
    tracker = SubspaceTracker(target)
    size = min(_BLOCK.on(matrix.device), matrix.numel())
    blocks = list(zip(*(tensor.view(-1).split(size) for tensor in (matrix, multiplier, target, sparse)), strict=True))
    workspace = matrix.new_empty(2, size)
    for iteration in range(max_iter):
        threshold, following = _threshold(iteration), _threshold(iteration + 1)
        left, right = tracker(target, threshold)
        torch.mm(left, right.mT, out=target)
        squares = [_shrink_in_place(block, workspace, weight * threshold, following / threshold) for block in blocks]
        if math.sqrt(torch.stack(squares).sum()) <= tolerance:
            break
    torch.mm(left, right.mT, out=low_rank)
    return iteration + 1


def _shrink_in_place(block: tuple[Tensor, ...], workspace: Tensor, bound: float, ratio: float) -> Tensor:
    """:func:`_shrink` and :func:`_advance` in place, the target being the low-rank part; the squared residual norm."""
    matrix, multiplier, target, sparse = block
    residual, clipped = workspace[:, : len(matrix)]
    torch.sub(matrix, target, out=residual).add_(multiplier)
    torch.clamp(residual, -bound, bound, out=clipped)
    torch.sub(residual, clipped, out=sparse)
    torch.sub(clipped, multiplier, out=residual)
    target.add_(residual).add_(clipped, alpha=ratio)
    torch.mul(clipped, ratio, out=multiplier)
    return torch.dot(residual, residual)


@operator(
    lambda matrix, initial, count, low_rank, sparse: (  # noqa: ARG005
        torch.empty_like(matrix, memory_format=torch.contiguous_format),
        torch.empty_like(matrix, memory_format=torch.contiguous_format),
    )
)
def _alternate_gradient(
    matrix: Tensor, initial: Tensor, count: Tensor, low_rank: Tensor, sparse: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients of matrices and initial, given those of the parts."""
    return _Backward(matrix, count, low_rank, sparse).run(initial)


class _Backward:
    """Backpropagation through the iterations, each recomputed from the last checkpoint before it."""

    def __init__(self, matrix: Tensor, count: Tensor, low_rank: Tensor, sparse: Tensor) -> None:
        self._matrix, self._count = matrix, count
        self._of_low_rank, self._of_sparse = low_rank, sparse
        self._of_matrix = torch.zeros_like(matrix, memory_format=torch.contiguous_format)
        self._of_target, self._of_multiplier = self._of_matrix.clone(), self._of_matrix.clone()

    def run(self, initial: Tensor) -> tuple[Tensor, Tensor]:
        self._segment((self._matrix + initial, initial), 0, int(self._count.max()), _CHECKPOINTS)
        return self._of_matrix + self._of_target, self._of_target + self._of_multiplier

    def _segment(self, state: tuple[Tensor, Tensor], first: int, count: int, slots: int) -> None:
        """Backpropagate through some iterations, given the state before them and the number of free checkpoints."""
        if count == 1 or not slots:
            for last in reversed(range(first, first + count)):
                self._step(*self._forward(state, first, last), last)
            return
        segments = min(count, slots + 1)
        edges = [first + count * segment // segments for segment in range(segments + 1)]
        states = [state]
        for begin, end in pairwise(edges[:-1]):
            states.append(self._forward(states[-1], begin, end))
        for segment in reversed(range(segments)):  # used checkpoints become free
            self._segment(states.pop(), edges[segment], edges[segment + 1] - edges[segment], slots - segment)

    def _forward(self, state: tuple[Tensor, Tensor], first: int, last: int) -> tuple[Tensor, Tensor]:
        for iteration in range(first, last):
            target, multiplier = state
            low_rank = singular_value_threshold(target, _threshold(iteration))
            clipped = _shrink(self._matrix, multiplier, low_rank, iteration)[1]
            state = _advance(low_rank, multiplier, clipped, iteration)
        return state

    def _step(self, target: Tensor, multiplier: Tensor, iteration: int) -> None:
        """Transform the gradients of the state after an iteration to those of the state before it."""
        left, values, right = svd(target)
        tau = values.new_tensor(_threshold(iteration))
        low_rank = (left * (values - tau).relu()[..., None, :]) @ right.mT
        residual = self._matrix - low_rank + multiplier
        ratio = _threshold(iteration + 1) / _threshold(iteration)
        last = (self._count == iteration + 1)[:, None, None]
        of_sparse = torch.where(last, self._of_sparse, 0.0)
        of_clipped = (1 + ratio) * self._of_target + ratio * self._of_multiplier - of_sparse
        of_residual = of_sparse + torch.where(residual.abs() < _bound(residual, iteration), of_clipped, 0.0)
        of_low_rank = torch.where(last, self._of_low_rank, self._of_target) - of_residual
        self._of_multiplier = of_residual - self._of_target
        self._of_target = threshold_derivative(left, values, right, tau, of_low_rank)
        self._of_matrix += of_residual


def _setup(ctx: Any, inputs: tuple[Tensor, Tensor, int, float], output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[0], inputs[1], output[2])


def _backward(ctx: Any, low_rank: Tensor, sparse: Tensor, _: None) -> tuple[Tensor, Tensor, None, None]:
    matrix, initial, count = ctx.saved_tensors
    return *_alternate_gradient(matrix, initial, count, low_rank, sparse), None, None


register_gradient(_alternate, _setup, _backward)
