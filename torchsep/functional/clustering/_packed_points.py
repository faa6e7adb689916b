"""Points in chunks that stay in cache, and products of these with few centres."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchsep.functional._chunks import BlockSize

__all__ = [
    "PackedPoints",
    "labels_of",
    "members",
    "moments",
    "pack",
    "scores",
    "squared_norms",
]

# Elements of a chunk including intermediate results, and its maximum number of points.
_CHUNK = 1 << 18
_MAX_CHUNK = 1 << 13
# Points of weight zero are clamped to this multiple of the largest value, so that squares cannot overflow.
_CLAMP = 2.0**40
# Elements of a block of chunks for one batched product.
_BLOCK = BlockSize(cpu=1 << 22, accelerator=1 << 27)


class PackedPoints(NamedTuple):
    """Centred and scaled points of several items, in chunks of ``n`` points.

    Args:
        values: ``(B, C, n, D)``, zero-padded.
        weights: weight of each point, zero for padding, ``(B, C, n)``.
        norms: squared norm of each point, ``(B, C, n)``.
        mean: weighted mean of each item after scaling, ``(B, D)``.
        scale: power of two by which each item is multiplied, ``(B, 1)``.
        broken: whether an item is not finite, in which case its values are zero, ``(B,)``.
        energy: weighted sum of the norms of each item, ``(B,)``, in double precision.
        variance: weighted mean of the norms, ``(B,)``, in double precision.
        num_points: number of points without padding.
    """

    values: Tensor
    weights: Tensor
    norms: Tensor
    mean: Tensor
    scale: Tensor
    broken: Tensor
    energy: Tensor
    variance: Tensor
    num_points: int

    def of(self, items: Tensor | slice) -> "PackedPoints":
        """The points of some items."""
        parts = (part[items] if isinstance(part, Tensor) else part for part in self)
        return PackedPoints._make(parts)

    def blocks(self, rows: int) -> Iterator[slice]:
        """Blocks of chunks for one batched product, with that many intermediate values per point."""
        return _blocks(self.values, rows)

    def packed(self, centres: Float[Tensor, "B K D"]) -> Float[Tensor, "B K D"]:
        """Centres in the coordinates of the packed points."""
        return centres * self.scale[:, None] - self.mean[:, None]

    def unpacked(self, centres: Float[Tensor, "B K D"]) -> Float[Tensor, "B K D"]:
        """Centres in the coordinates of the original points."""
        return (centres + self.mean[:, None]) / self.scale[:, None]


def pack(points: Float[Tensor, "B P D"], weights: Float[Tensor, "B P"] | None, rows: int) -> PackedPoints:
    """Points centred, scaled and split into zero-padded chunks, whose size depends on the shape of one item only.

    Args:
        points: of each item.
        weights: non-negative, with a positive sum; one if None. Points of weight zero need not be finite.
        rows: number of values computed for each point, typically the number of centres.
    """
    items, count, features = points.shape
    chunks = math.ceil(count / min(_MAX_CHUNK, max(1, _CHUNK // (features + rows))))
    size = math.ceil(count / chunks)
    values = points.new_empty(items, chunks, size, features)
    packed_weights = points.new_zeros(items, chunks, size)
    packed_weights.view(items, -1)[:, :count] = 1.0 if weights is None else weights
    flat = values.view(items, -1, features)
    mean, scale, broken = _fill_normalised(flat[:, :count], points, weights)
    flat[:, count:] = 0.0
    norms = torch.cat([squared_norms(values[:, block]) for block in _blocks(values, features)], 1)
    energy = (norms[..., None, :] @ packed_weights[..., None]).sum((1, 2, 3), dtype=torch.float64)
    variance = energy / packed_weights.sum((1, 2), dtype=torch.float64)
    return PackedPoints(values, packed_weights, norms, mean, scale, broken, energy, variance, count)


def _fill_normalised(
    target: Float[Tensor, "B P D"], points: Float[Tensor, "B P D"], weights: Float[Tensor, "B P"] | None
) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B 1"], Bool[Tensor, " B"]]:
    """Fill in points with zero mean and a peak of about one; returns mean, scale, and which items are not finite."""
    if weights is None:
        weights = torch.ones_like(points[..., 0])
        largest = _largest(points)
    else:
        weightless = (weights == 0)[..., None]
        largest = _largest(points.masked_fill(weightless, 0.0))
        reach = _CLAMP * largest[..., None]
        points = torch.where(weightless, points.nan_to_num(0.0).minimum(reach).maximum(-reach), points)
    broken = ~largest.isfinite()
    exponent = largest.masked_fill(broken | (largest == 0), 1.0).frexp().exponent
    scale = torch.ldexp(torch.ones_like(largest), -exponent.clamp(min=-120))
    mean = ((weights / weights.sum(-1, keepdim=True))[:, None] @ points)[:, 0] * scale
    torch.addcmul(-mean[:, None], points, scale[..., None], out=target)
    if broken.any():
        target.masked_fill_(broken[..., None], 0.0)
    return mean.masked_fill(broken, 0.0), scale, broken[:, 0]


def _largest(points: Float[Tensor, "B P D"]) -> Float[Tensor, "B 1"]:
    """The largest absolute value of each item."""
    return torch.maximum(points.amax((1, 2)), -points.amin((1, 2)))[:, None]  # ten times as fast as a norm


def squared_norms(values: Float[Tensor, "*any n D"]) -> Float[Tensor, "*any n"]:
    """The squared norm of each point."""
    # A sum of squares would allocate the squares.
    return torch.linalg.vector_norm(values, dim=-1).square_()


def scores(block: Float[Tensor, "B c n D"], centres: Float[Tensor, "B K D"]) -> Float[Tensor, "B c K n"]:
    """Squared distances of points and centres, minus the squared norms of the points."""
    (items, chunks), count = block.shape[:2], centres.shape[1]
    shape = items, chunks, *centres.shape[1:]
    rows, squares = centres[:, None].expand(shape).flatten(0, 1), centres.square().sum(-1)
    offsets = squares[:, None].expand(shape[:3]).flatten(0, 1)[..., None]
    found = torch.baddbmm(offsets, rows, block.flatten(0, 1).mT, alpha=-2.0)
    return found.view(items, chunks, count, block.shape[2])


def labels_of(score: Float[Tensor, "B c K n"]) -> Float[Tensor, "B c 1 n"]:
    """The first index of the smallest score of each point."""
    # Much faster than argmin over an axis other than the last.
    index = torch.arange(score.shape[-2], device=score.device, dtype=score.dtype)[:, None]
    smallest = score.amin(-2, keepdim=True)
    return torch.where(score == smallest, index, score.shape[-2] - 1).amin(-2, keepdim=True)


def members(labels: Float[Tensor, "B c 1 n"], n_clusters: int) -> Float[Tensor, "B c K n"]:
    """One-hot labels."""
    index = torch.arange(n_clusters, device=labels.device, dtype=labels.dtype)[:, None]
    return torch.eq(labels, index, out=labels.new_empty(*labels.shape[:2], n_clusters, labels.shape[-1]))


def moments(block: Float[Tensor, "B c n D"], member: Float[Tensor, "B c K n"]) -> Float[Tensor, "B K E"]:
    """Sum and number of the members of each cluster, ``E = D + 1``, in double precision."""
    sums = (member @ block).sum(1, dtype=torch.float64)
    return torch.cat((sums, member.sum(-1).sum(1, dtype=torch.float64)[..., None]), -1)


def _blocks(values: Tensor, rows: int) -> Iterator[slice]:
    limit = _BLOCK.on(values.device) // (values.shape[-2] * (values.shape[-1] + rows))
    # Batched products of a slice of several items would copy it.
    width = values.shape[1] if len(values) > 1 else max(1, limit)
    for first in range(0, values.shape[1], width):
        yield slice(first, first + width)
