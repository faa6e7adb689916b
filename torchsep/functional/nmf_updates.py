"""One multiplicative update of a non-negative factorisation.

Data lie frames first, ``(B, N, F)``, as spectrograms do in memory, activations ``(B, K, N)`` and templates
``(B, K, F)`` each in its row. An update goes over the frames once, some at a time, so that what has the size of the
data stays in cache: the activations of these frames are updated, and with them their part in the update of the
templates summed up. On several cores the frames of one large item become lanes, which look like items of a batch that
share templates: products of batches keep all cores busy where those of thin matrices do not.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["Updates", "least_factor", "parted"]

# Elements of the data that each core works on together: results of that size stay in its cache.
_TOGETHER = {"cpu": 1 << 18}
_DEVICE_TOGETHER = 1 << 27

# The least share of those that is worth a lane.
_LANE = 1 / 4


def least_factor(beta: float) -> float:
    """What no value of a factor falls below: so little that it stands for zero, so much that it can grow again.

    Nor does any power of the product of two overflow in single precision.
    """
    return max(1e-8, 10 ** (-15 / (2 - beta))) if beta < 2 else 1e-8


Ratio = tuple[Tensor, Tensor]


class Part(NamedTuple):
    """Some frames of all items or, in lanes of equal length, of the only one; with room for two results."""

    data: Float[Tensor, "L n F"]
    own: Float[Tensor, "L K n"]  # activations
    templates: Float[Tensor, "L K F"]
    weighted: Float[Tensor, "L n F"]
    powers: Float[Tensor, "L n F"]


@dataclass(frozen=True)
class Updates:
    """What is the same in every update of some items.

    Args:
        data: not negative, of a mean about one; positive for beta at or below zero.
        penalties: factors of the sums of values and of half of their squares; of no column for none.
        beta: of the divergence.
        learn: whether templates are updated too.
        rows: frames worked on together.
        lanes: of as many of these frames each; one where there are several items.
    """

    data: Float[Tensor, "B N F"]
    penalties: Float[Tensor, "B P"]
    beta: float
    learn: bool
    rows: int
    lanes: int

    @property
    def least(self) -> float:
        """What no value of a factor falls below."""
        return least_factor(self.beta)

    @property
    def exponent(self) -> float:
        """The power of the ratio with which no update makes the loss larger."""
        if self.beta < 1:
            return 1 / (2 - self.beta)
        return 1 / (self.beta - 1) if self.beta > 2 else 1.0

    def slices(self) -> list[slice]:
        """The frames in parts, which lanes divide evenly but for the few frames of a last one."""
        frames = self.data.shape[1]
        even = frames - frames % self.lanes
        parts = [slice(first, min(first + self.rows, even)) for first in range(0, even, self.rows)]
        return parts if even == frames else [*parts, slice(even, frames)]

    def room(self) -> Float[Tensor, "2 size"]:
        """Room for two results of the size of a part, to be used by all updates."""
        batch, _, bins = self.data.shape
        return self.data.new_empty(2, batch * self.rows * bins)

    def parts(self, activations: Float[Tensor, "B K N"], templates: Float[Tensor, "B K F"], room: Tensor) -> list[Part]:
        """The parts of factors that are updated in place, as often as wanted, with room for what is compared."""
        parts = []
        for frames in self.slices():
            data, own = self.data[:, frames], activations[..., frames]
            if self.lanes > 1 and own.shape[-1] % self.lanes == 0:
                data = data[0].unflatten(0, (self.lanes, -1))
                own = own[0].unflatten(1, (self.lanes, -1)).transpose(0, 1)
            weighted, powers = (space[: data.numel()].view(data.shape) for space in room)
            parts.append(Part(data, own, templates.expand(len(own), -1, -1), weighted, powers))
        return parts

    def apply(
        self, activations: Tensor, templates: Tensor, parts: list[Part], active: Bool[Tensor, " B"] | None = None
    ) -> tuple[list[Ratio], Ratio | None]:
        """Update the factors, whose parts these are, of active items in place.

        Returns:
            By which ratios: those of the activations, part by part, and that of the templates if they are learned.
        """
        _, frames, bins = self.data.shape
        ratios = []
        # What a frame adds to the denominator in the simple cases does not depend on it, but for its activations.
        sums = templates.sum(-1, keepdim=True) if self.beta == 1 else None
        gram = templates @ templates.mT if self.beta == 2 else None
        size = len(parts[0].own), *templates.shape[1:]
        above = templates.new_zeros(size) if self.learn else None
        below = templates.new_zeros(size) if self.learn and sums is None and gram is None else None
        for part in parts:
            own, lanes = part.own, len(part.own)
            weighted, powers = self._compared(part)
            denominator = sums if gram is None else gram @ own
            denominator = torch.bmm(part.templates, powers.mT) if denominator is None else denominator
            ratio = torch.bmm(part.templates, weighted.mT), self._penalised(denominator, bins, own)
            self._multiply(own, ratio, active)
            ratios.append(ratio)
            if above is not None:
                weighted, powers = self._compared(part)
                above[:lanes].baddbmm_(own, weighted)
            if below is not None:
                below[:lanes].baddbmm_(own, powers)
        if above is None:
            return ratios, None
        if gram is not None:
            denominator = torch.bmm(activations @ activations.mT, templates)
        else:
            denominator = activations.sum(-1, keepdim=True) if below is None else self._of_items(below)
        ratio = self._of_items(above), self._penalised(denominator, frames, templates)
        self._multiply(templates, ratio, active)
        return ratios, ratio

    def _of_items(self, of_lanes: Tensor) -> Tensor:
        return of_lanes if self.lanes == 1 else of_lanes.sum(0, keepdim=True)

    def _compared(self, part: Part) -> tuple[Tensor, Tensor]:
        """The data times the model's power beta - 2, and the model's power beta - 1, where that is needed."""
        data, own, templates, weighted, powers = part
        if self.beta == 2:
            return data, data
        if self.beta == 1:
            torch.bmm(own.mT, templates, out=weighted)
            torch.div(data, weighted, out=weighted)
        elif self.beta == 0:
            torch.bmm(own.mT, templates, out=powers)
            torch.mul(data, powers.reciprocal_(), out=weighted).mul_(powers)
        else:
            torch.bmm(own.mT, templates, out=powers)
            torch.pow(powers, self.beta - 2, out=weighted)
            powers.mul_(weighted)
            weighted.mul_(data)
        return weighted, powers

    def _penalised(self, denominator: Tensor, size: int, own: Tensor) -> Tensor:
        """A denominator with what the penalties add to it, ``size`` being the other side of the data."""
        if not self.penalties.shape[1]:
            return denominator
        return denominator + size * (self.penalties[:, :1, None] + self.penalties[:, 1:, None] * own)

    def _multiply(self, own: Tensor, ratio: Ratio, active: Tensor | None) -> None:
        factor = ratio[0] / ratio[1]
        if self.exponent != 1:
            factor.pow_(self.exponent)
        if active is not None:
            factor.masked_fill_(~active[:, None, None], 1.0)
        own.mul_(factor).clamp_(min=self.least)


def parted(data: Tensor, penalties: Tensor, beta: float, *, learn: bool) -> list[tuple[slice, Updates]]:
    """The items in groups that are worked on together; how frames are parted does not depend on the other items."""
    items, frames, bins = data.shape
    size = frames * bins
    cores = torch.get_num_threads() if data.device.type == "cpu" else 1
    share = _TOGETHER.get(data.device.type, _DEVICE_TOGETHER)
    lanes = min(cores, frames, int(size / (_LANE * share))) if size > share else 1
    rows = lanes * math.ceil(frames / (lanes * math.ceil(size / (cores * share))))
    together = max(1, cores * share // size) if lanes == 1 else 1
    groups = [slice(first, first + together) for first in range(0, items, together)]
    return [(group, Updates(data[group], penalties[group], beta, learn, rows, lanes)) for group in groups]
