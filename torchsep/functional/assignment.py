"""Which of one set belongs to which of another."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.functional._custom_ops import operator

__all__ = ["best_permutation", "optimal_assignment"]


def optimal_assignment(cost: Float[Tensor, "*any S R"]) -> Int[Tensor, "*any S"]:
    r"""The column given to each row, no column twice, such that the sum of the costs is the least.

    .. math::
        \hat\pi = \arg\min_\pi \sum_i C_{i, \pi(i)}

    Rows are added one by one, each along the shortest augmenting path, in :math:`O(S^2 R)` steps where trying all
    permutations takes :math:`S!`. All items of a batch are worked on together.

    Args:
        cost: of giving each of the R columns to each of the S rows, S at most R. An item that holds NaN or infinity
            has no least sum; its rows get the columns of their own number.

    Raises:
        ValueError: if ``cost`` is no matrix, or has more rows than columns.

    Gradient:
        None: the assignment is discrete. Gather the costs, or what they were computed of, by it.

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
    r"""For each source of a reference the estimate that is most like it, each estimate once.

    The order in which the normalised correlations, over all axes but the first two, have the largest sum. Silence is
    like nothing; where there is nothing to go by, the order stays as it is.

    Args:
        reference: sources in the order wanted.
        estimates: as many, in any order, of any level.

    Gradient:
        None: the order is discrete.

    Example:
        >>> reference = torch.eye(3)[None]
        >>> best_permutation(reference, 2 * reference[:, [2, 0, 1]])
        tensor([[1, 2, 0]])
    """
    with torch.no_grad(), torch.autocast(estimates.device.type, enabled=False):
        wanted, found = (_unit(tensor.detach().flatten(2)) for tensor in (reference, estimates))
        return optimal_assignment(-(wanted @ found.mT))


def _unit(vectors: Float[Tensor, "B S n"]) -> Float[Tensor, "B S n"]:
    """Vectors of length one, or zero where they are zero; scaled first, so that no square is too large or too small."""
    peak = vectors.abs().amax(-1, keepdim=True)
    scaled = vectors / peak.masked_fill(peak == 0, 1.0)
    length = torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
    return scaled / length.masked_fill(length == 0, 1.0)


@operator(lambda cost: cost.new_empty(cost.shape[:-1], dtype=torch.long))
def _optimal_assignment(cost: Tensor) -> Tensor:
    *leading, rows, columns = cost.shape
    precise = cost if cost.dtype in {torch.float32, torch.float64} else cost.to(torch.float64)
    flat = precise.reshape(math.prod(leading), rows, columns)
    good = flat.isfinite().all(-1).all(-1)
    flat = flat.masked_fill(~good[:, None, None], 0.0)
    row_price = flat.new_zeros(len(flat), rows)
    column_price = flat.new_zeros(len(flat), columns)
    row_of = torch.full((len(flat), columns), -1, device=cost.device)
    column_of = torch.full((len(flat), rows), -1, device=cost.device)
    for row in range(rows if len(flat) else 0):
        distance, seen, came_from, end = _shortest_path(flat, row, row_of, row_price, column_price)
        length = distance.gather(1, end)
        # What keeps all reduced costs at zero or above, and at zero where a column is given.
        less = torch.where(seen, length - distance, 0.0)
        row_price.scatter_add_(1, row_of.clamp(min=0), less.masked_fill(row_of < 0, 0.0))
        row_price[:, row] += length[:, 0]
        column_price -= less
        _augment(row, end, came_from, row_of, column_of)
    own = torch.arange(rows, device=cost.device)
    return torch.where(good[:, None], column_of, own).reshape(*leading, rows)


def _shortest_path(
    cost: Tensor, row: int, row_of: Tensor, row_price: Tensor, column_price: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distances of columns from a row, those whose distance is final, the row before each, and the nearest free one."""
    distance = torch.full_like(column_price, torch.inf)
    seen = torch.zeros_like(distance, dtype=torch.bool)
    came_from = torch.full_like(row_of, row)
    current = torch.full_like(row_of[:, :1], row)
    end = torch.full_like(current, -1)
    so_far = torch.zeros_like(distance[:, :1])
    for _ in range(row + 1):  # each step but the last leads to one of the rows before
        going_on = end < 0
        reduced = cost.take_along_dim(current[..., None], 1)[:, 0] - row_price.gather(1, current) - column_price
        nearer = (so_far + reduced < distance) & ~seen & going_on
        distance = torch.where(nearer, so_far + reduced, distance)
        came_from = torch.where(nearer, current, came_from)
        so_far, column = distance.masked_fill(seen, torch.inf).min(1, keepdim=True)
        seen |= torch.zeros_like(seen).scatter_(1, column, going_on)
        holder = row_of.gather(1, column)
        end = torch.where(going_on & (holder < 0), column, end)
        current = holder.clamp(min=0)
        if (end >= 0).all():
            break
    return distance, seen, came_from, end


def _augment(row: int, end: Tensor, came_from: Tensor, row_of: Tensor, column_of: Tensor) -> None:
    """Give the columns along a path, from its end back to the row that it began at, to the rows before them."""
    column, going_on = end, torch.ones_like(end, dtype=torch.bool)
    for _ in range(row + 1):
        giver = came_from.gather(1, column)
        row_of.scatter_(1, column, torch.where(going_on, giver, row_of.gather(1, column)))
        before = column_of.gather(1, giver)
        column_of.scatter_(1, giver, torch.where(going_on, column, before))
        going_on = going_on & (giver != row)
        column = torch.where(going_on, before, column)
        if not going_on.any():
            break
