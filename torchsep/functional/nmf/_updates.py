"""One multiplicative update of a non-negative factorisation.

Data lie frames first, ``(B, N, F)``, as spectrograms do in memory, activations ``(B, K, N)`` and templates
``(B, K, F)`` each in its row. An update goes over the frames once, some at a time, so that what has the size of the
data stays in cache: the activations of these frames are updated, and with them their part in the update of the
templates summed up. On several cores the frames of one large item become lanes, which look like items of a batch that
share templates: products of batches keep all cores busy where those of thin matrices do not.

The usual number of bins is odd. Data have a few columns more, which do not count: rows that begin where a vector
register can be loaded at once make products and divisions of spectrograms a tenth faster.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from torchsep.functional._chunks import BlockSize

__all__ = ["Updates", "least_factor", "padded", "parted"]

# Elements of the data that each core works on together: results of that size stay in its cache.
_TOGETHER = BlockSize(cpu=1 << 17, accelerator=1 << 27)

# The least share of those that is worth a lane.
_LANE = 1 / 4

# Rows are padded to a multiple of so many values, if they have some times as many.
_ALIGNED = 16
_WORTH_ALIGNING = 8


def padded(data: Float[Tensor, "B N F"]) -> Float[Tensor, "B N E"]:
    """Data with the columns that do not count, which are one: any value will do of which no power is infinite."""
    bins = data.shape[-1]
    return pad(data, (0, -bins % _ALIGNED if bins >= _WORTH_ALIGNING * _ALIGNED else 0), value=1.0).contiguous()


def least_factor(beta: float) -> float:
    """What no value of a factor falls below: so little that it stands for zero, so much that it can grow again.

    Nor does any power of the product of two overflow in single precision. For beta of two there are no powers.
    """
    if beta == 2:
        return 1e-16
    return max(1e-8, 10 ** (-15 / (2 - beta))) if beta < 2 else 1e-8


Ratio = tuple[Tensor, Tensor]


class Part(NamedTuple):
    """Some frames of all items or, in lanes of equal length, of the only one; with room for what is worked out.

    What is turned over for products is so once for all updates, and has the F columns alone that count, of E.
    """

    data: Float[Tensor, "L n E"]
    own: Float[Tensor, "L K n"]  # activations
    own_turned: Float[Tensor, "L n K"]
    templates: Float[Tensor, "L K E"]
    counted: Float[Tensor, "L K F"]  # of the templates
    weighted: Float[Tensor, "L n E"]  # data times the model's power beta - 2
    weighted_turned: Float[Tensor, "L F n"]
    powers: Float[Tensor, "L n P"]  # of the model, beta - 1, or whatever gives the same sums
    powers_turned: Float[Tensor, "L Q n"]
    above: Float[Tensor, "L K E"]  # the numerator of the templates, summed up over parts
    below: Float[Tensor, "L K P"]  # their denominator, likewise


class Parts(NamedTuple):
    """All parts, with the sums that they share."""

    each: list[Part]
    above: Float[Tensor, "L K E"]
    below: Float[Tensor, "L K P"]


@dataclass(frozen=True)
class Updates:
    """What is the same in every update of some items.

    Args:
        data: not negative, of a mean about one; positive for beta at or below zero.
        bins: its columns that count, from the first; those after them are positive.
        penalties: factors of the sums of values and of half of their squares; of no column for none.
        beta: of the divergence.
        learn: whether templates are updated too.
        rows: frames worked on together.
        lanes: of as many of these frames each; one where there are several items.
    """

    data: Float[Tensor, "B N E"]
    bins: int
    penalties: Float[Tensor, "B P"]
    beta: float
    learn: bool
    rows: int
    lanes: int

    @cached_property
    def least(self) -> float:
        """What no value of a factor falls below."""
        return least_factor(self.beta)

    @cached_property
    def exponent(self) -> float:
        """The power of the ratio with which no update makes the loss larger."""
        if self.beta < 1:
            return 1 / (2 - self.beta)
        return 1 / (self.beta - 1) if self.beta > 2 else 1.0

    def counted(self) -> "Updates":
        """The same of the columns alone that count."""
        return replace(self, data=self.data[..., : self.bins])

    def slices(self) -> list[slice]:
        """The frames in parts, which lanes divide evenly but for the few frames of a last one."""
        frames = self.data.shape[1]
        even = frames - frames % self.lanes
        parts = [slice(first, min(first + self.rows, even)) for first in range(0, even, self.rows)]
        return parts if even == frames else [*parts, slice(even, frames)]

    def room(self) -> Float[Tensor, "2 size"]:
        """Room for two results of the size of a part, to be used by all updates."""
        batch, _, columns = self.data.shape
        return self.data.new_empty(2, batch * self.rows * columns)

    def parts(self, activations: Float[Tensor, "B K N"], templates: Float[Tensor, "B K E"], room: Tensor) -> Parts:
        """The parts of factors, as often as wanted, with room for what is compared.

        Templates are updated in place; of activations, parts have copies of their own, which are in one piece.
        """
        batch, components, columns = templates.shape
        lanes = max(batch, self.lanes)
        above = templates.new_empty(lanes, components, columns)
        below = templates.new_empty(
            lanes, components, 1 if self.beta == 1 else components if self.beta == 2 else columns
        )
        each = []
        for frames in self.slices():
            data, own = self.data[:, frames], activations[..., frames]
            if self._has_lanes(own.shape[-1]):
                data = data[0].unflatten(0, (self.lanes, -1))
                own = own[0].unflatten(1, (self.lanes, -1)).transpose(0, 1)
            own = own.clone(memory_format=torch.contiguous_format)
            weighted, powers = (space[: data.numel()].view(data.shape) for space in room)
            if self.beta == 2:
                weighted, powers = data, own.mT
            elif self.beta == 1:
                powers = own.new_ones(*own.shape[::2], 1)
            shared = templates.expand(len(own), -1, -1)
            each.append(
                Part(
                    data=data,
                    own=own,
                    own_turned=own.mT,
                    templates=shared,
                    counted=shared[..., : self.bins],
                    weighted=weighted,
                    weighted_turned=weighted[..., : self.bins].mT,
                    powers=powers,
                    powers_turned=powers[..., : self.bins].mT,
                    above=above[: len(own)],
                    below=below[: len(own)],
                )
            )
        return Parts(each, above, below)

    def collect(self, parts: Parts, activations: Float[Tensor, "B K N"]) -> None:
        """Put the activations of all parts in their places."""
        for frames, part in zip(self.slices(), parts.each, strict=True):
            place = activations[..., frames]
            if self._has_lanes(place.shape[-1]):
                place = place[0].unflatten(1, (self.lanes, -1)).transpose(0, 1)
            place.copy_(part.own)

    def apply(
        self, templates: Tensor, parts: Parts, active: Bool[Tensor, " B"] | None = None
    ) -> tuple[list[Ratio], Ratio | None]:
        """Update the templates and the activations in the parts, of active items, in place.

        Returns:
            By which ratios: those of the activations, part by part, and that of the templates if they are learned.
        """
        frames = self.data.shape[1]
        counted = templates[..., : self.bins]
        ratios = []
        # What a frame adds to the denominator in the simple cases does not depend on it, but for its activations.
        sums = counted.sum(-1, keepdim=True) if self.beta == 1 else None
        gram = counted @ counted.mT if self.beta == 2 else None
        parts.above.zero_()
        parts.below.zero_()
        for part in parts.each:
            self._compare(part)
            if gram is not None:
                denominator = gram @ part.own
            else:
                denominator = torch.bmm(part.counted, part.powers_turned) if sums is None else sums
            ratio = torch.bmm(part.counted, part.weighted_turned), self._penalised(denominator, self.bins, part.own)
            self._multiply(part.own, ratio, active)
            ratios.append(ratio)
            if self.learn:
                self._compare(part)
                part.above.baddbmm_(part.own, part.weighted)
                part.below.baddbmm_(part.own, part.powers)
        if not self.learn:
            return ratios, None
        above, below = parts.above, parts.below
        if self.lanes > 1:
            above, below = above.sum(0, keepdim=True), below.sum(0, keepdim=True)
        ratio = above, self._penalised(below if gram is None else torch.bmm(below, templates), frames, templates)
        self._multiply(templates, ratio, active)
        return ratios, ratio

    def _has_lanes(self, frames: int) -> bool:
        """Whether a part of so many frames is one of lanes."""
        return self.lanes > 1 and frames % self.lanes == 0

    def _compare(self, part: Part) -> None:
        """Fill in the data times the model's power beta - 2, and the model's power beta - 1, where that is needed."""
        if self.beta == 2:
            return
        if self.beta == 1:
            torch.bmm(part.own_turned, part.templates, out=part.weighted)
            torch.div(part.data, part.weighted, out=part.weighted)
            return
        torch.bmm(part.own_turned, part.templates, out=part.powers)
        if self.beta == 0:
            torch.mul(part.data, part.powers.reciprocal_(), out=part.weighted).mul_(part.powers)
        else:
            torch.pow(part.powers, self.beta - 2, out=part.weighted)
            part.powers.mul_(part.weighted)
            part.weighted.mul_(part.data)

    def _penalised(self, denominator: Tensor, size: int, own: Tensor) -> Tensor:
        """A denominator with what the penalties add to it, ``size`` being the other side of the data."""
        if not self.penalties.shape[1]:
            return denominator
        return denominator + size * (self.penalties[:, :1, None] + self.penalties[:, 1:, None] * own)

    def _multiply(self, own: Tensor, ratio: Ratio, active: Tensor | None) -> None:
        factor = torch.div(*ratio)
        if self.exponent != 1:
            factor.pow_(self.exponent)
        if active is not None:
            factor.masked_fill_(~active[:, None, None], 1.0)
        own.mul_(factor).clamp_(min=self.least)


def parted(data: Tensor, bins: int, penalties: Tensor, beta: float, *, learn: bool) -> list[tuple[slice, Updates]]:
    """The items in groups that are worked on together; how frames are parted does not depend on the other items."""
    items, frames, columns = data.shape
    size = frames * columns
    cores = torch.get_num_threads() if data.device.type == "cpu" else 1
    share = _TOGETHER.on(data.device)
    lanes = min(cores, frames, int(size / (_LANE * share))) if size > share else 1
    rows = lanes * math.ceil(frames / (lanes * math.ceil(size / (cores * share))))
    # Rather a few items more together than these few in a group of their own.
    count = items if lanes > 1 else max(1, round(items * size / (cores * share)))
    together = max(1, math.ceil(items / max(1, count)))
    groups = [slice(first, first + together) for first in range(0, items, together)]
    return [(group, Updates(data[group], bins, penalties[group], beta, learn, rows, lanes)) for group in groups]
