"""k-means++ initialisation with hashed random numbers."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.functional.clustering._packed_points import PackedPoints, scores
from torchsep.functional.hashing import hashed_uniform

__all__ = ["draw_points", "kmeans_plus_plus"]


def kmeans_plus_plus(points: PackedPoints, n_clusters: int, seed: int) -> Float[Tensor, "B K D"]:
    """Initial centres by greedy k-means++: points drawn in proportion to their squared distance to previous centres.

    Each centre is the best of several candidates, by inertia.

    Args:
        points: packed points.
        n_clusters: number of centres.
        seed: seed of the draws, which are the same for all items.

    References:
        David Arthur, Sergei Vassilvitskii: "k-means++: the advantages of careful seeding", SODA 2007.
    """
    candidates = 2 + int(math.log(n_clusters))
    draws = hashed_uniform((n_clusters, candidates), seed, points.values.device)
    centres = draw_points(points, points.weights, draws[0, :1])
    closest = _distances(points, centres, None)[0][:, :, 0]
    item = torch.arange(len(closest), device=closest.device)
    for draw in draws[1:]:
        drawn = draw_points(points, closest, draw)
        distances, inertia = _distances(points, drawn, closest)
        best = inertia.argmin(-1)
        centres = torch.cat((centres, drawn[item, best][:, None]), 1)
        closest = distances[item, :, best] if len(item) > 1 else distances[:, :, int(best)]
    return centres


def draw_points(
    points: PackedPoints, mass: Float[Tensor, "B C n"], draws: Float[Tensor, " L"]
) -> Float[Tensor, "B L D"]:
    """Points of each item drawn in proportion to their mass, or to their weight if the total mass is zero."""
    item = torch.arange(len(mass), device=mass.device)[:, None]
    inside, weight = mass.sum(-1, dtype=torch.float64), points.weights
    massless = (inside.sum(-1, keepdim=True) > 0).logical_not_()
    inside = torch.where(massless, weight.sum(-1, dtype=torch.float64), inside)
    chunk, remainder = _inverse_cumulative(inside, draws * inside.sum(-1, keepdim=True))
    within = torch.where(massless[..., None], weight[item, chunk], mass[item, chunk])
    index, _ = _inverse_cumulative(within.double(), remainder[..., None])
    return points.values[item, chunk, index[..., 0]]


def _inverse_cumulative(
    mass: Float[Tensor, "*any n"], value: Float[Tensor, "*any L"]
) -> tuple[Int[Tensor, "*any L"], Float[Tensor, "*any L"]]:
    """The first index at which the cumulative mass exceeds each value, and the value minus the mass before it."""
    cumulative = mass.cumsum(-1)
    last = torch.searchsorted(cumulative, cumulative[..., -1:].contiguous())  # rounding must not select zero mass
    index = torch.searchsorted(cumulative, value.contiguous(), right=True).minimum(last).clamp_(max=mass.shape[-1] - 1)
    return index, value - (cumulative - mass).gather(-1, index)


def _distances(
    points: PackedPoints, centres: Float[Tensor, "B L D"], closest: Float[Tensor, "B C n"] | None
) -> tuple[Float[Tensor, "B C L n"], Float[Tensor, "B L"]]:
    """Weighted squared distances to each centre or the closest previous one, and their sums."""
    items, chunks, size, _ = points.values.shape
    distances = points.values.new_empty(items, chunks, centres.shape[1], size)
    inertia = centres.new_zeros((), dtype=torch.float64)
    for block in points.blocks(3 * centres.shape[1]):
        part = scores(points.values[:, block], centres).add_(points.norms[:, block, None]).clamp_(min=0.0)
        part.mul_(points.weights[:, block, None])
        if closest is not None:
            torch.minimum(part, closest[:, block, None], out=part)
        distances[:, block] = part
        inertia = inertia + part.sum(-1).double().sum(1)
    return distances, inertia
