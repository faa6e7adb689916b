"""A sample of points that stands for all of them where clusters are looked for."""

import torch

from torchsep.functional.clustering._packed_points import PackedPoints
from torchsep.functional.hashing import hashed_uniform

__all__ = ["coreset"]


def coreset(points: PackedPoints, size: int, seed: int) -> PackedPoints:
    """So many points of each item, with weights for which sums over them are near those over all points.

    Half of them are drawn in proportion to their weight, and half to their squared distance from the origin, to which
    packed points are near, so that a small cluster far away is not missed.

    Args:
        points: of some items.
        size: how many to draw.
        seed: of the draws, which are the same for all items.

    References:
        Olivier Bachem, Mario Lucic, Andreas Krause: "Scalable k-means clustering via lightweight coresets", KDD 2018.
    """
    weights, norms = points.weights.flatten(1), points.norms.flatten(1)
    spread = (weights * norms).sum(-1, keepdim=True, dtype=torch.float64)
    mean = spread / weights.sum(-1, keepdim=True, dtype=torch.float64)
    # Of a point of weight one, relative to that of a point at the origin; all alike where all points are.
    gain = torch.where(mean > torch.finfo(norms.dtype).tiny, 1 / mean, 0.0).to(norms.dtype)
    reached = torch.addcmul(weights, weights * gain, norms).cumsum(-1, dtype=torch.float64)
    # One draw from each of as many equal parts of the whole.
    draws = torch.arange(size, device=weights.device) + hashed_uniform((size,), seed, weights.device)
    place = torch.searchsorted(reached, (reached[:, -1:] * (draws / size)).contiguous(), right=True)
    last = torch.searchsorted(reached, reached[:, -1:].contiguous())  # rounding cannot choose what has no mass
    place = place.minimum(last)
    row = place + weights.shape[1] * torch.arange(len(place), device=place.device)[:, None]
    values = points.values.flatten(0, 2).index_select(0, row.flatten()).view(*place.shape, -1)
    norms = norms.gather(1, place)
    return points._replace(
        values=values[:, None], weights=(1 / (1 + gain * norms))[:, None], norms=norms[:, None], num_points=size
    )
