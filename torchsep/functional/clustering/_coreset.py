"""Coresets: weighted samples of points for clustering."""

import torch

from torchsep.functional.clustering._packed_points import PackedPoints
from torchsep.functional.hashing import hashed_uniform

__all__ = ["coreset"]


def coreset(points: PackedPoints, size: int, seed: int) -> PackedPoints:
    """A weighted sample of the points of each item, whose sums approximate the sums over all points.

    Half of the points are drawn in proportion to their weight, and half in proportion to their squared distance from
    the mean, so that small distant clusters are sampled too.

    Args:
        points: packed points.
        size: number of points to draw.
        seed: seed of the draws, which are the same for all items.

    References:
        Olivier Bachem, Mario Lucic, Andreas Krause: "Scalable k-means clustering via lightweight coresets", KDD 2018.
    """
    weights, norms = points.weights.flatten(1), points.norms.flatten(1)
    spread = (weights * norms).sum(-1, keepdim=True, dtype=torch.float64)
    mean = spread / weights.sum(-1, keepdim=True, dtype=torch.float64)
    # Relative sampling probability per unit of squared distance; uniform if all points are equal.
    gain = torch.where(mean > torch.finfo(norms.dtype).tiny, 1 / mean, 0.0).to(norms.dtype)
    cumulative = torch.addcmul(weights, weights * gain, norms).cumsum(-1, dtype=torch.float64)
    # Stratified sampling: one draw per equal part of the total.
    draws = torch.arange(size, device=weights.device) + hashed_uniform((size,), seed, weights.device)
    index = torch.searchsorted(cumulative, (cumulative[:, -1:] * (draws / size)).contiguous(), right=True)
    last = torch.searchsorted(
        cumulative, cumulative[:, -1:].contiguous()
    )  # rounding must not select a point without mass
    index = index.minimum(last)
    row = index + weights.shape[1] * torch.arange(len(index), device=index.device)[:, None]
    values = points.values.flatten(0, 2).index_select(0, row.flatten()).view(*index.shape, -1)
    norms = norms.gather(1, index)
    return points._replace(
        values=values[:, None], weights=(1 / (1 + gain * norms))[:, None], norms=norms[:, None], num_points=size
    )
