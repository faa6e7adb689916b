"""The iterations of k-means over packed points."""

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torchsep.functional.clustering._coreset import coreset
from torchsep.functional.clustering._kmeans_init import kmeans_plus_plus
from torchsep.functional.clustering._packed_points import (
    PackedPoints,
    labels_of,
    members,
    moments,
    pack,
    scores,
    squared_lengths,
)
from torchsep.functional.hashing import hashed_uniform

__all__ = ["Fit", "best_fit", "better", "lloyd", "sampled_centres"]

# Points of a sample that stands for all where these are so many times as many, and the most iterations over it.
_SAMPLE = 1 << 11
_SAMPLE_PER_CLUSTER = 1 << 8
_FEW = 8
_MOST_ON_SAMPLE = 100

# The share of the squares of all points from which on the inertia is told from them by a difference.
_WELL_TOLD = 0.05

# Centres (B, K, D), labels (B, P), inertia (B,), and for each cluster without points the point that is its centre, else
# -1, (B, K).
Fit = tuple[Tensor, Tensor, Tensor, Tensor]


def best_fit(
    points: Float[Tensor, "B P D"],
    weights: Float[Tensor, "B P"] | None,
    start: Float[Tensor, "B K D"] | None,
    n_clusters: int,
    seeds: Sequence[int],
    settle: Callable[[PackedPoints, Tensor], Tensor],
    tol: float,
) -> Fit:
    """For each item the fit of least inertia, of one for each seed.

    Args:
        points: of each item.
        weights: of each point.
        start: centres to begin with; there is one fit then.
        n_clusters: how many.
        seeds: of the fits.
        settle: finds centres, given packed points and the centres to begin with.
        tol: of the iterations that find these.
    """
    largest = points.new_ones(len(points), 1)
    if weights is not None:
        weights = weights.masked_fill(weights.sum(-1, keepdim=True) == 0, 1.0)
        largest = weights.amax(-1, keepdim=True)
        weights = weights / largest
    packed = pack(points, weights, n_clusters)
    given = None if start is None else packed.packed(start)
    starts = [_start(packed, n_clusters, seed, tol) for seed in seeds] if given is None else [given]
    fits = []
    for group in packed.groups():
        some = packed.of(group)
        fits.append(reduce(better, (_finished(some, settle(some, centres[group])) for centres in starts)))
    centres, labels, inertia, places = (torch.cat(parts) for parts in zip(*fits, strict=True))
    return centres, labels, inertia * largest[:, 0], places


def lloyd(points: PackedPoints, centres: Float[Tensor, "B K D"], max_iter: int, tol: float) -> Float[Tensor, "B K D"]:
    """Centres that rest, each item's from the moment on that they do.

    Args:
        points: of some items.
        centres: to begin with.
        max_iter: the most iterations.
        tol: how far they may move and count as resting, squared and relative to the mean variance of the features.
    """
    limit = tol * points.variance / centres.shape[-1]
    found, number = centres, torch.arange(len(centres), device=centres.device)
    moving = torch.ones_like(limit, dtype=torch.bool)
    for _ in range(max_iter):
        moved = torch.where(moving[:, None, None], _step(points, centres), centres)
        moving &= (moved - centres).square().sum((1, 2)) > limit
        centres = moved
        going = int(moving.sum())
        if 2 * going <= len(moving):  # go on without those that rest
            found = found.index_copy(0, number, centres)
            if not going:
                break
            points, centres, limit, number = points.of(moving), centres[moving], limit[moving], number[moving]
            moving = moving[moving]
    return found.index_copy(0, number, centres)


def _start(points: PackedPoints, n_clusters: int, seed: int, tol: float) -> Float[Tensor, "B K D"]:
    """Centres to begin with: points drawn far apart, or of many points the centres that a sample of them has."""
    size = max(_SAMPLE, _SAMPLE_PER_CLUSTER * n_clusters)
    if points.num_points < _FEW * size:
        return torch.cat([kmeans_plus_plus(points.of(group), n_clusters, seed) for group in points.groups()])
    sample = coreset(points, size, seed)
    return lloyd(sample, kmeans_plus_plus(sample, n_clusters, seed), _MOST_ON_SAMPLE, tol)


def sampled_centres(
    points: Float[Tensor, "B P D"],
    weights: Float[Tensor, "B P"] | None,
    start: Float[Tensor, "B K D"] | None,
    n_clusters: int,
    sampling: tuple[int, int, float, int],
) -> Float[Tensor, "B K D"]:
    """Centres found from samples, each the mean of all points that were given to it.

    Args:
        points: of some items.
        weights: of each point; it is drawn in proportion to them.
        start: centres to begin with.
        n_clusters: how many.
        sampling: size of each sample, the most iterations, tolerance and seed.
    """
    size, max_iter, tol, seed = sampling
    size = min(size, points.shape[1])
    item = torch.arange(len(points), device=points.device)[:, None]
    reached = None if weights is None else weights.cumsum(-1, dtype=torch.float64)

    def sample(number: int, size: int) -> Tensor:
        draws = hashed_uniform((size,), seed + number, points.device)
        if reached is None:
            return points[:, (draws * points.shape[1]).long()]
        place = torch.searchsorted(reached, draws * reached[:, -1:], right=True)
        return points[item, place.clamp_(max=points.shape[1] - 1)]

    first = pack(sample(0, 3 * size), None, n_clusters)
    centres = kmeans_plus_plus(first, n_clusters, seed) if start is None else first.packed(start)
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
    """Of each item the fit of less inertia; the one if they are equal."""
    is_better = other[2] < one[2]
    centres, labels, inertia, places = (
        torch.where(is_better.view(-1, *[1] * (new.dim() - 1)), new, old) for old, new in zip(one, other, strict=True)
    )
    return centres, labels, inertia, places


def _step(points: PackedPoints, centres: Float[Tensor, "B K D"]) -> Float[Tensor, "B K D"]:
    """Centres moved to the mean of the points nearest to them, those without points to points far from theirs."""
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
    place = _far_points(points, centres, empty)
    item, size = torch.arange(len(place), device=place.device)[:, None], points.values.shape[2]
    return torch.where(empty[..., None], points.values[item, place // size, place % size], moved)


def _finished(points: PackedPoints, centres: Float[Tensor, "B K D"]) -> Fit:
    """The last step: points are given to the nearest centre, also those of weight zero, and centres to their means."""
    count = centres.shape[1]
    labels, summed = [], centres.new_zeros((), dtype=torch.float64)
    for block in points.blocks(3 * count):
        part = points.values[:, block]
        labels.append(labels_of(scores(part, centres)))
        summed = summed + moments(part, members(labels[-1], count).mul_(points.weights[:, block, None]))
    label, total = torch.cat(labels, 1), summed[..., -1:]
    empty = total == 0
    means = (summed[..., :-1] / total.masked_fill(empty, 1.0)).to(centres.dtype)
    place = torch.full_like(means[..., 0], -1, dtype=torch.long)
    if empty.any():
        far = _far_points(points, centres, empty[..., 0])
        item, size = torch.arange(len(far), device=far.device)[:, None], points.values.shape[2]
        place = torch.where(empty[..., 0], far, place)
        means = torch.where(empty, points.values[item, far // size, far % size], means)
    inertia = points.energy - (summed[..., :-1].square().sum(-1, keepdim=True) / total.masked_fill(empty, 1.0)).sum(
        (1, 2)
    )
    exact = inertia > _WELL_TOLD * points.energy
    if not exact.all():
        inertia = torch.where(exact, inertia, _sum_of_squares(points, means, label))
    inertia = (inertia / points.scale[:, 0].double().square()).to(means.dtype)
    broken = points.broken
    flat = label.flatten(1)[:, : points.num_points].long()
    centres = points.unpacked(means).masked_fill(broken[:, None, None], torch.nan)
    return centres, flat, inertia.masked_fill(broken, torch.nan), place


def _sum_of_squares(
    points: PackedPoints, centres: Float[Tensor, "B K D"], labels: Float[Tensor, "B C 1 n"]
) -> Float[Tensor, " B"]:
    """Of the distances of the points from the centres of their clusters."""
    total = centres.new_zeros((), dtype=torch.float64)
    for block in points.blocks(3 * centres.shape[1]):
        own = members(labels[:, block], centres.shape[1]).mT @ centres[:, None]
        squares = squared_lengths(own.sub_(points.values[:, block])).mul_(points.weights[:, block])
        total = total + squares.sum(-1).sum(1, dtype=torch.float64)
    return total


def _far_points(
    points: PackedPoints, centres: Float[Tensor, "B K D"], empty: Bool[Tensor, "B K"]
) -> Int[Tensor, "B K"]:
    """For each empty cluster another point, those that add most to the inertia first, in the order of the points."""
    added = []
    for block in points.blocks(3 * centres.shape[1]):
        smallest = scores(points.values[:, block], centres).amin(2).add_(points.norms[:, block])
        added.append(smallest.clamp_(min=0.0).mul_(points.weights[:, block]))
    distances = torch.cat(added, 1).masked_fill(points.weights == 0, -1.0).flatten(1)
    largest, place = distances.topk(min(empty.shape[1], points.num_points))
    exist = (largest >= 0).sum(-1, keepdim=True).clamp_(min=1)
    return place.gather(1, (empty.cumsum(-1) - 1).clamp_(min=0) % exist)
