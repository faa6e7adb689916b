"""Optimal assignment, and the permutation of sources that matches a reference best."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.functional._custom_ops import operator, without_autocast

__all__ = ["best_permutation", "optimal_assignment"]


def optimal_assignment(cost: Float[Tensor, "*any S R"]) -> Int[Tensor, "*any S"]:
    r"""The column assigned to each row, without repetition, such that the sum of the costs is minimal.

    .. math::
        \hat\pi = \arg\min_\pi \sum_i C_{i, \pi(i)}

    Rows are added one by one, each along the shortest augmenting path, in :math:`O(S^2 R)` steps instead of :math:`S!`
    for all permutations. All items of a batch are processed together.

    Args:
        cost: cost of assigning each of the R columns to each of the S rows, with S at most R. For an item with NaN or
            infinity, row ``i`` is assigned column ``i``.

    Raises:
        ValueError: if ``cost`` has fewer than two axes, or more rows than columns.

    Gradient:
        None: the assignment is discrete. Use it to gather differentiable costs.

    Example:
        >>> cost = torch.tensor([[1.0, 2.0, 9.0], [1.0, 4.0, 9.0], [0.0, 0.0, 5.0]])
        >>> optimal_assignment(cost)
        tensor([1, 0, 2])

    References:
        R. Jonker and A. Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment
        problems", Computing, 1987.
        D. F. Crouse, "On implementing 2D rectangular assignment algorithms", IEEE TAES, 2016.
    """
    if cost.dim() < 2 or cost.shape[-2] > cost.shape[-1]:
        raise ValueError(f"cost must have shape (..., S, R) with S at most R, got {tuple(cost.shape)}")
    return _optimal_assignment(cost.detach())


def best_permutation(reference: Float[Tensor, "B S *any"], estimates: Float[Tensor, "B S *any"]) -> Int[Tensor, "B S"]:
    r"""The permutation of the estimates that correlates best with the reference.

    It maximises the sum of the normalised correlations over all axes but the first two. Silent sources have zero
    correlation; without any correlation the order is unchanged.

    Args:
        reference: sources in the desired order.
        estimates: the same number of sources, in any order and at any level.

    Gradient:
        None: the permutation is discrete.

    Example:
        >>> reference = torch.eye(3)[None]
        >>> best_permutation(reference, 2 * reference[:, [2, 0, 1]])
        tensor([[1, 2, 0]])
    """
    with torch.no_grad(), without_autocast(estimates.device):
        wanted, found = (_unit(tensor.detach().flatten(2)) for tensor in (reference, estimates))
        return optimal_assignment(-(wanted @ found.mT))


def _unit(vectors: Float[Tensor, "B S n"]) -> Float[Tensor, "B S n"]:
    """Unit vectors, zero for zero vectors; scaled by their peak first to avoid overflow and underflow of squares."""
    peak = vectors.abs().amax(-1, keepdim=True)
    scaled = vectors / peak.masked_fill(peak == 0, 1.0)
    length = torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
    return scaled / length.masked_fill(length == 0, 1.0)


@operator(lambda cost: cost.new_empty(cost.shape[:-1], dtype=torch.long))
def _optimal_assignment(cost: Tensor) -> Tensor:
    *leading, rows, columns = cost.shape
    precise = cost if cost.dtype in {torch.float32, torch.float64} else cost.to(torch.float64)
    flat = precise.reshape(math.prod(leading), rows, columns)
    finite = flat.isfinite().all(-1).all(-1)
    flat = flat.masked_fill(~finite[:, None, None], 0.0)
    row_price = flat.new_zeros(len(flat), rows)
    column_price = flat.new_zeros(len(flat), columns)
    row_of = torch.full((len(flat), columns), -1, device=cost.device)
    column_of = torch.full((len(flat), rows), -1, device=cost.device)
    for row in range(rows if len(flat) else 0):
        distance, seen, came_from, end = _shortest_path(flat, row, row_of, row_price, column_price)
        length = distance.gather(1, end)
        # Update of the dual variables: reduced costs stay non-negative, and zero for assigned pairs.
        change = torch.where(seen, length - distance, 0.0)
        row_price.scatter_add_(1, row_of.clamp(min=0), change.masked_fill(row_of < 0, 0.0))
        row_price[:, row] += length[:, 0]
        column_price -= change
        _augment(row, end, came_from, row_of, column_of)
    own = torch.arange(rows, device=cost.device)
    return torch.where(finite[:, None], column_of, own).reshape(*leading, rows)


def _shortest_path(
    cost: Tensor, row: int, row_of: Tensor, row_price: Tensor, column_price: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distances of columns from a row, whether they are final, the predecessor rows, and the nearest free column."""
    distance = torch.full_like(column_price, torch.inf)
    seen = torch.zeros_like(distance, dtype=torch.bool)
    came_from = torch.full_like(row_of, row)
    current = torch.full_like(row_of[:, :1], row)
    end = torch.full_like(current, -1)
    so_far = torch.zeros_like(distance[:, :1])
    for _ in range(row + 1):  # each step but the last reaches one of the previous rows
        active = end < 0
        reduced = cost.take_along_dim(current[..., None], 1)[:, 0] - row_price.gather(1, current) - column_price
        nearer = (so_far + reduced < distance) & ~seen & active
        distance = torch.where(nearer, so_far + reduced, distance)
        came_from = torch.where(nearer, current, came_from)
        so_far, column = distance.masked_fill(seen, torch.inf).min(1, keepdim=True)
        seen |= torch.zeros_like(seen).scatter_(1, column, active)
        holder = row_of.gather(1, column)
        end = torch.where(active & (holder < 0), column, end)
        current = holder.clamp(min=0)
        if (end >= 0).all():
            break
    return distance, seen, came_from, end


def _augment(row: int, end: Tensor, came_from: Tensor, row_of: Tensor, column_of: Tensor) -> None:
    """Assign the columns along a path, from its end back to its first row, to their predecessor rows."""
    column, active = end, torch.ones_like(end, dtype=torch.bool)
    for _ in range(row + 1):
        predecessor = came_from.gather(1, column)
        row_of.scatter_(1, column, torch.where(active, predecessor, row_of.gather(1, column)))
        before = column_of.gather(1, predecessor)
        column_of.scatter_(1, predecessor, torch.where(active, column, before))
        active = active & (predecessor != row)
        column = torch.where(active, before, column)
        if not active.any():
            break
