"""Many points beside few centres, laid out so that every step is a product of small matrices that stays in cache."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "PackedPoints",
    "items_together",
    "labels_of",
    "members",
    "moments",
    "pack",
    "scores",
    "squared_lengths",
]

# Elements of a chunk of points with what is worked out for each.
_CHUNK = 1 << 18
_MOST_IN_CHUNK = 1 << 13
# What is farther off than so many times the largest value is not told from it: its square could overflow.
_FARTHEST = 2.0**40
# Elements that one product takes, so many that few threads have to wait for one another.
_BLOCK = {"cpu": 1 << 22}
_DEVICE_BLOCK = 1 << 27
# Elements of the items that are fitted side by side, so few that all iterations find them in cache.
_ITEMS = {"cpu": 1 << 21}
_DEVICE_ITEMS = 1 << 27


class PackedPoints(NamedTuple):
    """Points of some items about their mean, at a common scale, in chunks of ``n``.

    Args:
        values: ``(B, C, n, D)``, zero where the last chunk is filled up.
        weights: of each point, zero where the last chunk is filled up, ``(B, C, n)``.
        norms: the squared length of each point, ``(B, C, n)``.
        mean: of each item at that scale, ``(B, D)``, weighted.
        scale: a power of two that brings the largest value of each item near one, ``(B, 1)``.
        broken: items that are not finite; here they are silent, ``(B,)``.
        num_points: without those that fill up.
    """

    values: Tensor
    weights: Tensor
    norms: Tensor
    mean: Tensor
    scale: Tensor
    broken: Tensor
    num_points: int

    def of(self, items: Tensor) -> "PackedPoints":
        """Some of the items."""
        values, weights, norms = self.values[items], self.weights[items], self.norms[items]
        return PackedPoints(
            values, weights, norms, self.mean[items], self.scale[items], self.broken[items], self.num_points
        )

    def blocks(self, rows: int) -> Iterator[slice]:
        """Chunks that are worked on together, where so many values are worked out for each point."""
        return _blocks(self.values, rows)

    def packed(self, centres: Float[Tensor, "B K D"]) -> Float[Tensor, "B K D"]:
        """Centres as they are among the packed points."""
        return centres * self.scale[:, None] - self.mean[:, None]

    def unpacked(self, centres: Float[Tensor, "B K D"]) -> Float[Tensor, "B K D"]:
        """Centres as they are among the points given."""
        return (centres + self.mean[:, None]) / self.scale[:, None]


def items_together(points: Float[Tensor, "B P D"]) -> int:
    """How many items to pack at a time."""
    return max(1, _ITEMS.get(points.device.type, _DEVICE_ITEMS) // points[0].numel())


def pack(points: Float[Tensor, "B P D"], weights: Float[Tensor, "B P"] | None, rows: int) -> PackedPoints:
    """Points laid out for products with centres. The chunks depend on the sizes of one item alone.

    Args:
        points: of some items.
        weights: not negative; what is not finite in a point of weight zero counts as
            zero or as far off. All one if None.
        rows: how many values are worked out for each point, as a rule the number of centres.
    """
    items, count, features = points.shape
    chunks = -(-count // min(_MOST_IN_CHUNK, max(1, _CHUNK // (features + rows))))
    size = -(-count // chunks)
    flat_weights = points.new_zeros(items, chunks * size)
    flat_weights[:, :count] = 1.0 if weights is None else weights
    if weights is None:
        largest = _largest(points)
    else:
        idle = (weights == 0)[..., None]
        largest = _largest(points.masked_fill(idle, 0.0))
        reach = _FARTHEST * largest[..., None]
        points = torch.where(idle, points.nan_to_num(0.0).minimum(reach).maximum(-reach), points)
    broken = ~largest.isfinite()
    exponent = largest.masked_fill(broken | (largest == 0), 1.0).frexp().exponent
    scale = torch.ldexp(torch.ones_like(largest), -exponent.clamp(min=-120))
    flat = points.new_empty(items, chunks * size, features)
    torch.mul(points, scale[..., None], out=flat[:, :count])
    flat[:, count:] = 0.0
    if broken.any():
        flat.masked_fill_(broken[..., None], 0.0)
    values, weights = flat.view(items, chunks, size, features), flat_weights.view(items, chunks, size)
    total = weights.sum(-1, dtype=torch.float64).sum(-1, keepdim=True)
    mean = ((weights[:, :, None] @ values).sum((1, 2), dtype=torch.float64) / total).to(values.dtype)
    flat[:, :count] -= mean[:, None]
    norms = torch.cat([squared_lengths(values[:, block]) for block in _blocks(values, features)], 1)
    return PackedPoints(values, weights, norms, mean, scale, broken[:, 0], count)


def _largest(points: Float[Tensor, "B P D"]) -> Float[Tensor, "B 1"]:
    """The largest absolute value of each item."""
    return torch.maximum(points.amax((1, 2)), -points.amin((1, 2)))[:, None]  # its norm takes ten times as long


def squared_lengths(values: Float[Tensor, "*any n D"]) -> Float[Tensor, "*any n"]:
    """Of each point."""
    # Not by a sum of squares, which would first write all of these.
    return torch.linalg.vector_norm(values, dim=-1).square_()


def scores(block: Float[Tensor, "B c n D"], centres: Float[Tensor, "B K D"]) -> Float[Tensor, "B c K n"]:
    """The squared distances of points and centres, less the squared norms of the points."""
    (items, chunks), count = block.shape[:2], centres.shape[1]
    shape = items, chunks, *centres.shape[1:]
    rows, squares = centres[:, None].expand(shape).flatten(0, 1), centres.square().sum(-1)
    offsets = squares[:, None].expand(shape[:3]).flatten(0, 1)[..., None]
    found = torch.baddbmm(offsets, rows, block.flatten(0, 1).mT, alpha=-2.0)
    return found.view(items, chunks, count, block.shape[2])


def labels_of(score: Float[Tensor, "B c K n"]) -> Float[Tensor, "B c 1 n"]:
    """The number of the smallest score of each point, the first of those that are equal."""
    # Many times as fast as argmin over an axis that is not the last.
    index = torch.arange(score.shape[-2], device=score.device, dtype=score.dtype)[:, None]
    smallest = score.amin(-2, keepdim=True)
    return torch.where(score == smallest, index, score.shape[-2] - 1).amin(-2, keepdim=True)


def members(labels: Float[Tensor, "B c 1 n"], num_clusters: int) -> Float[Tensor, "B c K n"]:
    """One where a point has a label and zero elsewhere."""
    index = torch.arange(num_clusters, device=labels.device, dtype=labels.dtype)[:, None]
    return torch.eq(labels, index, out=labels.new_empty(*labels.shape[:2], num_clusters, labels.shape[-1]))


def moments(block: Float[Tensor, "B c n D"], member: Float[Tensor, "B c K n"]) -> Float[Tensor, "B K E"]:
    """The sums over the members of each cluster with their number behind, ``E = D + 1``, in double precision."""
    sums = (member @ block).sum(1, dtype=torch.float64)
    return torch.cat((sums, member.sum(-1).sum(1, dtype=torch.float64)[..., None]), -1)


def _blocks(values: Tensor, rows: int) -> Iterator[slice]:
    room = _BLOCK.get(values.device.type, _DEVICE_BLOCK) // (values.shape[-2] * (values.shape[-1] + rows))
    # Several items are worked on whole, so that no block of them needs to be copied for a product.
    together = values.shape[1] if len(values) > 1 else max(1, room)
    for first in range(0, values.shape[1], together):
        yield slice(first, first + together)
