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
    "product_with_centres",
    "scores",
]

# Elements of a chunk of points with what is worked out for each.
_CHUNK = 1 << 18
_MOST_IN_CHUNK = 1 << 13
# Elements that one product takes, so many that few threads have to wait for one another.
_BLOCK = {"cpu": 1 << 22}
_DEVICE_BLOCK = 1 << 27
# Elements of the items that are fitted side by side, so few that all iterations find them in cache.
_ITEMS = {"cpu": 1 << 19}
_DEVICE_ITEMS = 1 << 27


class PackedPoints(NamedTuple):
    """Points of some items about their mean, at a common scale, in chunks of ``n`` with the features first.

    Below the features is a row of ones (zeros where a chunk is filled up), so that one product with centres gives
    their distances, up to what all of them share, and one with memberships gives sums and counts.

    Args:
        values: ``(B, C, D + 1, n)``.
        weighted: the same, times the weight of each point.
        norms: the squared length of each point, times its weight, ``(B, C, n)``.
        mean: of each item, ``(B, D)``, weighted.
        scale: a power of two that brings the largest value of each item near one, ``(B, 1)``.
        broken: items that are not finite; here they are silent, ``(B,)``.
        num_points: without those that fill up.
    """

    values: Tensor
    weighted: Tensor
    norms: Tensor
    mean: Tensor
    scale: Tensor
    broken: Tensor
    num_points: int

    def of(self, items: Tensor) -> "PackedPoints":
        """Some of the items."""
        values = self.values[items]
        weighted = values if self.weighted is self.values else self.weighted[items]
        norms, mean, scale, broken = self.norms[items], self.mean[items], self.scale[items], self.broken[items]
        return PackedPoints(values, weighted, norms, mean, scale, broken, self.num_points)

    @property
    def weights(self) -> Tensor:
        """Of each point, ``(B, C, n)``."""
        return self.weighted[:, :, -1]

    def blocks(self, rows: int) -> Iterator[slice]:
        """Chunks that are worked on together, where so many values are worked out for each point."""
        return _blocks(self.values, rows)

    def packed(self, centres: Float[Tensor, "B K D"]) -> Float[Tensor, "B K D"]:
        """Centres as they are among the packed points."""
        return (centres - self.mean[:, None]) * self.scale[:, None]

    def unpacked(self, centres: Float[Tensor, "B K D"]) -> Float[Tensor, "B K D"]:
        """Centres as they are among the points given."""
        return (centres / self.scale[:, None] + self.mean[:, None]).to(self.values.dtype)


def items_together(points: Float[Tensor, "B P D"]) -> int:
    """How many items to pack at a time."""
    return max(1, _ITEMS.get(points.device.type, _DEVICE_ITEMS) // (points.shape[1] * (points.shape[2] + 1)))


def pack(points: Float[Tensor, "B P D"], weights: Float[Tensor, "B P"] | None, rows: int) -> PackedPoints:
    """Points laid out for products with centres. The chunks depend on the sizes of one item alone.

    Args:
        points: of some items.
        weights: not negative; what is not finite in a point of weight zero is ignored. All one if None.
        rows: how many values are worked out for each point, as a rule the number of centres.
    """
    values, weighted, filling = _in_chunks(points, weights, rows)
    mean, spread = _mean_and_spread(values, weighted)
    broken = ~spread.isfinite()
    exponent = spread.masked_fill(broken | (spread == 0), 1.0).frexp().exponent
    scale = torch.ldexp(torch.ones_like(spread), -exponent.clamp(min=-120))
    if broken.any():
        values[broken[:, 0], :, :-1] = 0.0
        weighted[broken[:, 0], :, :-1] = 0.0
        mean = mean.masked_fill(broken, 0.0)
    norms = torch.empty_like(values[:, :, 0], memory_format=torch.contiguous_format)
    for block in _blocks(values, rows):
        part, part_weighted = values[:, block, :-1], weighted[:, block, :-1]
        part.sub_(mean[:, None, :, None]).mul_(scale[:, None, :, None])
        if block.stop >= values.shape[1]:
            part[:, -1, :, filling] = 0.0
        if weights is not None:
            torch.mul(part, weighted[:, block, -1:], out=part_weighted)
        torch.sum(part * part_weighted, -2, out=norms[:, block])
    return PackedPoints(values, weighted, norms, mean, scale, broken[:, 0], points.shape[1])


def _in_chunks(points: Tensor, weights: Tensor | None, rows: int) -> tuple[Tensor, Tensor, slice]:
    """Values as they are, those to be weighted (zero where the weight is), and what fills up the last chunk."""
    items, count, features = points.shape
    chunks = -(-count // min(_MOST_IN_CHUNK, max(1, _CHUNK // (features + 1 + rows))))
    size = -(-count // chunks)
    filling = slice(count - (chunks - 1) * size, None)
    values = points.new_empty(items, chunks, features + 1, size)
    _fill(values[:, :, :-1], points.mT)
    values[:, :, -1] = 1.0
    values[:, -1, -1, filling] = 0.0
    if weights is None:
        return values, values, filling
    weight = points.new_empty(items, chunks, 1, size)
    _fill(weight, weights[:, None])
    values[:, :, :-1].masked_fill_((weight == 0) & ~values[:, :, :-1].isfinite(), 0.0)
    weighted = torch.where(weight > 0, values, 0.0)
    weighted[:, :, -1:] = weight
    return values, weighted, filling


def _mean_and_spread(values: Tensor, weighted: Tensor) -> tuple[Tensor, Tensor]:
    """Of each item the weighted mean, ``(B, D)``, and the largest distance to it along a feature, ``(B, 1)``."""
    total = weighted[:, :, -1].sum(-1, dtype=torch.float64).sum(-1, keepdim=True)
    sums, lows, highs = torch.zeros_like(total), [], []
    for block in _blocks(values, 0):
        part = weighted[:, block, :-1]
        sums = sums + (part @ weighted[:, block, -1, :, None])[..., 0].double().sum(1)
        lows.append(part.amin(-1).amin(1))  # aminmax takes several times as long
        highs.append(part.amax(-1).amax(1))
    mean = (sums / total).to(values.dtype)
    low, high = torch.stack(lows).amin(0), torch.stack(highs).amax(0)
    return mean, torch.maximum(high - mean, mean - low).amax(-1, keepdim=True)


def scores(block: Float[Tensor, "B c E n"], centres: Float[Tensor, "B K D"]) -> Float[Tensor, "B c K n"]:
    """The squared distances of points and centres, less the squared norms of the points."""
    augmented = torch.cat((-2 * centres, centres.square().sum(-1, keepdim=True)), -1)
    return product_with_centres(augmented, block)


def product_with_centres(rows: Float[Tensor, "B K E"], block: Float[Tensor, "B c E n"]) -> Float[Tensor, "B c K n"]:
    """The products of some rows with all points of their item."""
    return rows[:, None].expand(-1, block.shape[1], -1, -1) @ block


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


def moments(block: Float[Tensor, "B c E n"], member: Float[Tensor, "B c K n"]) -> Float[Tensor, "B K E"]:
    """The sums over the members of each cluster, in double precision."""
    return (member @ block.mT).double().sum(1)


def _blocks(values: Tensor, rows: int) -> Iterator[slice]:
    room = _BLOCK.get(values.device.type, _DEVICE_BLOCK) // (values.shape[-1] * (values.shape[-2] + rows))
    # Several items are worked on whole, so that no block of them needs to be copied for a product.
    together = values.shape[1] if len(values) > 1 else max(1, room)
    for first in range(0, values.shape[1], together):
        yield slice(first, first + together)


def _fill(chunks: Float[Tensor, "B C D n"], points: Float[Tensor, "B D P"]) -> None:
    """Copy points into chunks; the last is filled up with zeros."""
    size = chunks.shape[-1]
    whole = points.shape[-1] // size
    chunks[:, :whole] = points[..., : whole * size].unflatten(-1, (whole, size)).movedim(-2, 1)
    if whole < chunks.shape[1]:
        rest = points.shape[-1] - whole * size
        chunks[:, whole, :, :rest] = points[..., whole * size :]
        chunks[:, whole, :, rest:] = 0.0
