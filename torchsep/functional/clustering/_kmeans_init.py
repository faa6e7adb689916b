"""Starting centres for k-means: points far apart, chosen by hashed numbers."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.functional.clustering._packed_points import PackedPoints, scores
from torchsep.functional.hashing import hashed_uniform

__all__ = ["draw_points", "kmeans_plus_plus"]


def kmeans_plus_plus(points: PackedPoints, n_clusters: int, seed: int) -> Float[Tensor, "B K D"]:
    """Points as starting centres, each drawn with a probability that grows with its distance to those before it.

    At each turn a few candidates are drawn, and that which leaves the least inertia is taken.

    Args:
        points: of some items.
        n_clusters: how many centres.
        seed: of the draws, which are the same for all items.

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
    """Points of each item drawn in proportion to their mass; if there is no mass, to their weight."""
    item = torch.arange(len(mass), device=mass.device)[:, None]
    inside, weight = mass.sum(-1, dtype=torch.float64), points.weights
    massless = (inside.sum(-1, keepdim=True) > 0).logical_not_()
    inside = torch.where(massless, weight.sum(-1, dtype=torch.float64), inside)
    chunk, rest = _where_reached(inside, draws * inside.sum(-1, keepdim=True))
    within = torch.where(massless[..., None], weight[item, chunk], mass[item, chunk])
    place, _ = _where_reached(within.double(), rest[..., None])
    return points.values[item, chunk, place[..., 0]]


def _where_reached(
    mass: Float[Tensor, "*any n"], value: Float[Tensor, "*any L"]
) -> tuple[Int[Tensor, "*any L"], Float[Tensor, "*any L"]]:
    """Where the sum of all masses so far first exceeds some values, and by how much it falls short just before."""
    summed = mass.cumsum(-1)
    last = torch.searchsorted(summed, summed[..., -1:].contiguous())  # so that rounding cannot choose what has no mass
    place = torch.searchsorted(summed, value.contiguous(), right=True).minimum(last).clamp_(max=mass.shape[-1] - 1)
    return place, value - (summed - mass).gather(-1, place)


def _distances(
    points: PackedPoints, centres: Float[Tensor, "B L D"], closest: Float[Tensor, "B C n"] | None
) -> tuple[Float[Tensor, "B C L n"], Float[Tensor, "B L"]]:
    """Weighted squared distances to each centre, or to the closest one before if that is less, and their sums."""
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
