"""Many points beside few centres, laid out so that every step is a product of small matrices that stays in cache."""

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
    "squared_lengths",
]

# Elements of a chunk of points with what is worked out for each.
_CHUNK = 1 << 18
_MOST_IN_CHUNK = 1 << 13
# What is farther off than so many times the largest value is not told from it: its square could overflow.
_FARTHEST = 2.0**40
# Elements that one product takes, so many that few threads have to wait for one another.
_BLOCK = BlockSize(cpu=1 << 22, accelerator=1 << 27)
# Elements of the items that are fitted side by side.
_ITEMS = BlockSize(cpu=1 << 22, accelerator=1 << 27)


class PackedPoints(NamedTuple):
    """Points of some items near the origin, at a common scale, in chunks of ``n``.

    Args:
        values: ``(B, C, n, D)``, zero where the last chunk is filled up.
        weights: of each point, zero where the last chunk is filled up, ``(B, C, n)``.
        norms: the squared length of each point, ``(B, C, n)``.
        mean: of each item at that scale, ``(B, D)``, weighted; zero if it has not been taken off.
        scale: a power of two that brings the largest value of each item near one, ``(B, 1)``.
        broken: items that are not finite; here they are silent, ``(B,)``.
        energy: the weighted sum of all norms of each item, ``(B,)``, in double precision.
        variance: the mean squared distance of each item's points from their mean, likewise.
        num_points: without those that fill up.
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
        """Some of the items."""
        parts = (part[items] if isinstance(part, Tensor) else part for part in self)
        return PackedPoints._make(parts)

    def groups(self) -> list[slice]:
        """Items that are fitted side by side: so many that few steps are made, and so few that they stay in cache."""
        together = max(1, _ITEMS.on(self.values.device) // self.values[0].numel())
        return [slice(first, first + together) for first in range(0, len(self.values), together)]

    def blocks(self, rows: int) -> Iterator[slice]:
        """Chunks that are worked on together, where so many values are worked out for each point."""
        return _blocks(self.values, rows)

    def packed(self, centres: Float[Tensor, "B K D"]) -> Float[Tensor, "B K D"]:
        """Centres as they are among the packed points."""
        return centres * self.scale[:, None] - self.mean[:, None]

    def unpacked(self, centres: Float[Tensor, "B K D"]) -> Float[Tensor, "B K D"]:
        """Centres as they are among the points given."""
        return (centres + self.mean[:, None]) / self.scale[:, None]


def pack(points: Float[Tensor, "B P D"], weights: Float[Tensor, "B P"] | None, rows: int) -> PackedPoints:
    """Points laid out for products with centres. The chunks depend on the sizes of one item alone.

    Points of usual size about an origin that is as near to them as they are to one another serve as they are.

    Args:
        points: of some items.
        weights: not negative, of a sum that is not zero; what is not finite in a point of weight zero counts as
            zero or as far off. All one if None.
        rows: how many values are worked out for each point, as a rule the number of centres.
    """
    points = points.contiguous()
    items, count, features = points.shape
    least = -(-count // min(_MOST_IN_CHUNK, max(1, _CHUNK // (features + rows))))
    chunks = next((number for number in range(least, 2 * least) if count % number == 0), least)
    size = -(-count // chunks)
    given = points.new_ones(items, count) if weights is None else weights
    is_whole = chunks * size == count
    if is_whole:
        values, packed_weights = points.view(items, chunks, size, features), given.view(items, chunks, size)
        norms = _norms(values)
        mean = points.mean(1) if weights is None else (weights[:, None] @ points)[:, 0] / weights.sum(-1, keepdim=True)
        energy, total = _energy(norms, packed_weights), packed_weights.sum((1, 2), dtype=torch.float64)
        variance = energy / total - mean.double().square().sum(-1)
        largest, limits = norms.amax((1, 2)), torch.finfo(norms.dtype)
        is_usual = (largest > limits.tiny**0.5) & (largest < limits.max**0.5)
        if (is_usual & (mean.square().sum(-1) <= variance)).all():
            return PackedPoints(
                values,
                packed_weights,
                norms,
                torch.zeros_like(mean),
                torch.ones_like(mean[:, :1]),
                ~is_usual,
                energy,
                variance,
                count,
            )
    room = points.new_zeros(items, chunks * size, features)
    flat_weights = points.new_zeros(items, chunks * size)
    flat_weights[:, :count] = given
    values, packed_weights = room.view(items, chunks, size, features), flat_weights.view(items, chunks, size)
    scale, broken = _fill_scaled(room[:, :count], points, weights)
    total = packed_weights.sum((1, 2), dtype=torch.float64)
    mean = (packed_weights[:, :, None] @ values).sum((1, 2), dtype=torch.float64) / total[:, None]
    room[:, :count] -= mean.to(values.dtype)[:, None]
    norms = _norms(values)
    energy = _energy(norms, packed_weights)
    return PackedPoints(
        values, packed_weights, norms, mean.to(values.dtype), scale, broken, energy, energy / total, count
    )


def _energy(norms: Float[Tensor, "B C n"], weights: Float[Tensor, "B C n"]) -> Float[Tensor, " B"]:
    return (norms[..., None, :] @ weights[..., None]).sum((1, 2, 3), dtype=torch.float64)


def _fill_scaled(
    room: Float[Tensor, "B P D"], points: Float[Tensor, "B P D"], weights: Float[Tensor, "B P"] | None
) -> tuple[Float[Tensor, "B 1"], Bool[Tensor, " B"]]:
    """Fill in points of which the largest value is near one, and tell their scale, and which items are not finite."""
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
    torch.mul(points, scale[..., None], out=room)
    room.masked_fill_(broken[..., None], 0.0)
    return scale, broken[:, 0]


def _norms(values: Float[Tensor, "B C n D"]) -> Float[Tensor, "B C n"]:
    return torch.cat([squared_lengths(values[:, block]) for block in _blocks(values, values.shape[-1])], 1)


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


def members(labels: Float[Tensor, "B c 1 n"], n_clusters: int) -> Float[Tensor, "B c K n"]:
    """One where a point has a label and zero elsewhere."""
    index = torch.arange(n_clusters, device=labels.device, dtype=labels.dtype)[:, None]
    return torch.eq(labels, index, out=labels.new_empty(*labels.shape[:2], n_clusters, labels.shape[-1]))


def moments(block: Float[Tensor, "B c n D"], member: Float[Tensor, "B c K n"]) -> Float[Tensor, "B K E"]:
    """The sums over the members of each cluster with their number behind, ``E = D + 1``, in double precision."""
    sums = (member @ block).sum(1, dtype=torch.float64)
    return torch.cat((sums, member.sum(-1).sum(1, dtype=torch.float64)[..., None]), -1)


def _blocks(values: Tensor, rows: int) -> Iterator[slice]:
    room = _BLOCK.on(values.device) // (values.shape[-2] * (values.shape[-1] + rows))
    # Several items are worked on whole, so that no block of them needs to be copied for a product.
    together = values.shape[1] if len(values) > 1 else max(1, room)
    for first in range(0, values.shape[1], together):
        yield slice(first, first + together)
