"""Lloyd's algorithm and mini-batch k-means on packed points."""

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torchsep.functional._chunks import BlockSize
from torchsep.functional.clustering._coreset import coreset
from torchsep.functional.clustering._kmeans_init import kmeans_plus_plus
from torchsep.functional.clustering._packed_points import (
    PackedPoints,
    labels_of,
    members,
    moments,
    pack,
    scores,
    squared_norms,
)
from torchsep.functional.hashing import hashed_uniform

__all__ = ["Fit", "best_fit", "better", "lloyd", "minibatch_centres"]

# Elements of a group of items that are fitted at once.
_ITEMS = BlockSize(cpu=1 << 22, accelerator=1 << 27)

# Minimum size of the coreset for the initial centres, in total and per cluster; the minimum ratio of the number of
# points to it, below which all points are used; and its maximum number of iterations.
_CORESET = 1 << 11
_CORESET_PER_CLUSTER = 1 << 8
_MIN_RATIO = 8
_CORESET_ITERATIONS = 100

# Relative inertia above which it can be computed as a difference of sums of squares.
_MIN_RELATIVE_INERTIA = 0.05

# Centres (B, K, D), labels (B, P), inertia (B,), and the index of the point that is the centre of each empty cluster,
# else -1, (B, K).
Fit = tuple[Tensor, Tensor, Tensor, Tensor]


def best_fit(
    points: Float[Tensor, "B P D"],
    weights: Float[Tensor, "B P"] | None,
    init: Float[Tensor, "B K D"] | None,
    n_clusters: int,
    seeds: Sequence[int],
    iterate: Callable[[PackedPoints, Tensor], Tensor],
    tol: float,
) -> Fit:
    """The fit with the lowest inertia for each item, among one fit per seed.

    Args:
        points: of each item.
        weights: of each point.
        init: initial centres, for a single fit; if None, k-means++.
        n_clusters: number of clusters.
        seeds: seeds of the initial centres.
        iterate: returns the final centres, given packed points and initial centres.
        tol: tolerance of the iterations on the coreset.
    """
    largest = points.new_ones(len(points), 1)
    if weights is not None:
        weights = weights.masked_fill(weights.sum(-1, keepdim=True) == 0, 1.0)
        largest = weights.amax(-1, keepdim=True)
        weights = weights / largest
    size = max(1, _ITEMS.on(points.device) // points[0].numel())
    fits = []
    for group in (slice(first, first + size) for first in range(0, len(points), size)):
        packed = pack(points[group], None if weights is None else weights[group], n_clusters)
        if init is None:
            inits = [_initial_centres(packed, n_clusters, seed, tol) for seed in seeds]
        else:
            inits = [packed.packed(init[group])]
        fits.append(reduce(better, (_final_step(packed, iterate(packed, centres)) for centres in inits)))
    centres, labels, inertia, indices = (torch.cat(parts) for parts in zip(*fits, strict=True))
    return centres, labels, inertia * largest[:, 0], indices


def lloyd(points: PackedPoints, centres: Float[Tensor, "B K D"], max_iter: int, tol: float) -> Float[Tensor, "B K D"]:
    """Centres after Lloyd's algorithm; converged items are frozen.

    Args:
        points: packed points.
        centres: initial centres.
        max_iter: maximum number of iterations.
        tol: squared movement at which centres have converged, relative to the mean variance of the features.
    """
    limit = tol * points.variance / centres.shape[-1]
    found, number = centres, torch.arange(len(centres), device=centres.device)
    moving = torch.ones_like(limit, dtype=torch.bool)
    for _ in range(max_iter):
        moved = torch.where(moving[:, None, None], _step(points, centres), centres)
        moving &= (moved - centres).square().sum((1, 2)) > limit
        centres = moved
        going = int(moving.sum())
        if 2 * going <= len(moving):  # continue without converged items
            found = found.index_copy(0, number, centres)
            if not going:
                break
            points, centres, limit, number = points.of(moving), centres[moving], limit[moving], number[moving]
            moving = moving[moving]
    return found.index_copy(0, number, centres)


def _initial_centres(points: PackedPoints, n_clusters: int, seed: int, tol: float) -> Float[Tensor, "B K D"]:
    """Initial centres: by k-means++, or for many points by k-means on a coreset."""
    size = max(_CORESET, _CORESET_PER_CLUSTER * n_clusters)
    if points.num_points < _MIN_RATIO * size:
        return kmeans_plus_plus(points, n_clusters, seed)
    sample = coreset(points, size, seed)
    return lloyd(sample, kmeans_plus_plus(sample, n_clusters, seed), _CORESET_ITERATIONS, tol)


def minibatch_centres(
    points: Float[Tensor, "B P D"],
    weights: Float[Tensor, "B P"] | None,
    init: Float[Tensor, "B K D"] | None,
    n_clusters: int,
    sampling: tuple[int, int, float, int],
) -> Float[Tensor, "B K D"]:
    """Centres by mini-batch k-means, each the mean of all sampled points that were assigned to it.

    Args:
        points: of each item.
        weights: of each point, proportional to the probability that it is drawn.
        init: initial centres; if None, k-means++.
        n_clusters: number of clusters.
        sampling: batch size, maximum number of iterations, tolerance and seed.
    """
    size, max_iter, tol, seed = sampling
    size = min(size, points.shape[1])
    item = torch.arange(len(points), device=points.device)[:, None]
    cumulative = None if weights is None else weights.cumsum(-1, dtype=torch.float64)

    def sample(number: int, size: int) -> Tensor:
        draws = hashed_uniform((size,), seed + number, points.device)
        if cumulative is None:
            return points[:, (draws * points.shape[1]).long()]
        index = torch.searchsorted(cumulative, draws * cumulative[:, -1:], right=True)
        return points[item, index.clamp_(max=points.shape[1] - 1)]

    first = pack(sample(0, 3 * size), None, n_clusters)
    centres = kmeans_plus_plus(first, n_clusters, seed) if init is None else first.packed(init)
    limit = tol * first.variance / points.shape[-1]
    given = centres.new_zeros(*centres.shape[:2], 1, dtype=torch.float64)
    moving = torch.ones_like(limit, dtype=torch.bool)
    for iteration in range(max_iter):
        block = first.packed(sample(1 + iteration, size))[:, None]
        summed = moments(block, members(labels_of(scores(block, centres)), n_clusters))
        total = given + summed[..., -1:]
        moved = ((centres * given + summed[..., :-1]) / total).to(centres.dtype)
        moved = torch.where(moving[:, None, None] & (total > 0), moved, centres)
        moving &= (moved - centres).square().sum((1, 2)) > limit
        centres, given = moved, total
        if not moving.any():
            break
    return first.unpacked(centres)


def better(one: Fit, other: Fit) -> Fit:
    """The fit with the lower inertia for each item; the first one if they are equal."""
    is_better = other[2] < one[2]
    centres, labels, inertia, indices = (
        torch.where(is_better.view(-1, *[1] * (new.dim() - 1)), new, old) for old, new in zip(one, other, strict=True)
    )
    return centres, labels, inertia, indices


def _step(points: PackedPoints, centres: Float[Tensor, "B K D"]) -> Float[Tensor, "B K D"]:
    """The mean of the points closest to each centre; empty clusters are moved to points far from their centre."""
    count = centres.shape[1]
    summed = centres.new_zeros((), dtype=torch.float64)
    for block in points.blocks(3 * count):
        part = points.values[:, block]
        member = members(labels_of(scores(part, centres)), count).mul_(points.weights[:, block, None])
        summed = summed + moments(part, member)
    empty = summed[..., -1] == 0
    moved = (summed[..., :-1] / summed[..., -1:]).to(centres.dtype)
    if not empty.any():
        return moved
    index = _far_points(points, centres, empty)
    item, size = torch.arange(len(index), device=index.device)[:, None], points.values.shape[2]
    return torch.where(empty[..., None], points.values[item, index // size, index % size], moved)


def _assigned(
    points: PackedPoints, centres: Float[Tensor, "B K D"]
) -> tuple[Float[Tensor, "B C 1 n"], Float[Tensor, "B K E"]]:
    """The closest centre of each point, and the weighted sums of the points and of the weights of each cluster."""
    count = centres.shape[1]
    labels, summed = [], centres.new_zeros((), dtype=torch.float64)
    for block in points.blocks(3 * count):
        part = points.values[:, block]
        labels.append(labels_of(scores(part, centres)))
        summed = summed + moments(part, members(labels[-1], count).mul_(points.weights[:, block, None]))
    return torch.cat(labels, 1), summed


def _final_step(points: PackedPoints, centres: Float[Tensor, "B K D"]) -> Fit:
    """The fit after a last step: all points, also those of weight zero, are assigned to the closest centre.

    Items with an empty cluster first take further steps, which fill it if there are distinct points enough.
    """
    label, summed = _assigned(points, centres)
    for _ in range(centres.shape[1]):
        lacking = (summed[..., -1] == 0).any(-1)
        if not lacking.any():
            break
        centres = torch.where(lacking[:, None, None], _step(points, centres), centres)
        label, summed = _assigned(points, centres)
    total = summed[..., -1:]
    empty = total == 0
    means = (summed[..., :-1] / total.masked_fill(empty, 1.0)).to(centres.dtype)
    index = torch.full_like(means[..., 0], -1, dtype=torch.long)
    if empty.any():
        far = _far_points(points, centres, empty[..., 0])
        item, size = torch.arange(len(far), device=far.device)[:, None], points.values.shape[2]
        index = torch.where(empty[..., 0], far, index)
        means = torch.where(empty, points.values[item, far // size, far % size], means)
    inertia = points.energy - (summed[..., :-1].square().sum(-1, keepdim=True) / total.masked_fill(empty, 1.0)).sum(
        (1, 2)
    )
    exact = inertia > _MIN_RELATIVE_INERTIA * points.energy
    if not exact.all():
        inertia = torch.where(exact, inertia, _sum_of_squares(points, means, label))
    inertia = (inertia / points.scale[:, 0].double().square()).to(means.dtype)
    broken = points.broken
    flat = label.flatten(1)[:, : points.num_points].long()
    centres = points.unpacked(means).masked_fill(broken[:, None, None], torch.nan)
    return centres, flat, inertia.masked_fill(broken, torch.nan), index


def _sum_of_squares(
    points: PackedPoints, centres: Float[Tensor, "B K D"], labels: Float[Tensor, "B C 1 n"]
) -> Float[Tensor, " B"]:
    """The weighted sum of the squared distances of points to the centres of their clusters."""
    total = centres.new_zeros((), dtype=torch.float64)
    for block in points.blocks(3 * centres.shape[1]):
        own = members(labels[:, block], centres.shape[1]).mT @ centres[:, None]
        squares = squared_norms(own.sub_(points.values[:, block])).mul_(points.weights[:, block])
        total = total + squares.sum(-1).sum(1, dtype=torch.float64)
    return total


def _far_points(
    points: PackedPoints, centres: Float[Tensor, "B K D"], empty: Bool[Tensor, "B K"]
) -> Int[Tensor, "B K"]:
    """A different point for each empty cluster, by decreasing contribution to the inertia."""
    added = []
    for block in points.blocks(3 * centres.shape[1]):
        smallest = scores(points.values[:, block], centres).amin(2).add_(points.norms[:, block])
        added.append(smallest.clamp_(min=0.0).mul_(points.weights[:, block]))
    distances = torch.cat(added, 1).masked_fill(points.weights == 0, -1.0).flatten(1)
    largest, index = distances.topk(min(empty.shape[1], points.num_points))
    exist = (largest >= 0).sum(-1, keepdim=True).clamp_(min=1)
    return index.gather(1, (empty.cumsum(-1) - 1).clamp_(min=0) % exist)
