"""One multiplicative update of a non-negative factorisation.

Everything lies frames first, as spectrograms do in memory: data ``(B, N, F)``, activations ``(B, N, K)``, templates
``(B, K, F)``. An update goes over the frames once, some at a time, so that what has the size of the data stays in
cache: the activations of these frames are updated, and with them their part in the update of the templates summed up.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["Updates", "least_factor", "parted"]

# Elements of the data that are worked on together: results of that size stay in a core's cache.
_TOGETHER = {"cpu": 1 << 18}
_DEVICE_TOGETHER = 1 << 27


def least_factor(beta: float) -> float:
    """What no value of a factor falls below: so little that it stands for zero, so much that it can grow again.

    Nor does any power of the product of two overflow in single precision.
    """
    return max(1e-8, 10 ** (-15 / (2 - beta))) if beta < 2 else 1e-8


Ratio = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Updates:
    """What is the same in every update of some items.

    Args:
        data: not negative, of a mean about one; positive for beta at or below zero.
        penalties: factors of the sums of values and of half of their squares; of no column for none.
        beta: of the divergence.
        learn: whether templates are updated too.
        rows: frames worked on together.
    """

    data: Float[Tensor, "B N F"]
    penalties: Float[Tensor, "B P"]
    beta: float
    learn: bool
    rows: int

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

    def parts(self) -> list[slice]:
        """The frames in parts of about equal size."""
        frames = self.data.shape[1]
        return [slice(first, min(first + self.rows, frames)) for first in range(0, frames, self.rows)]

    def room(self) -> Float[Tensor, "2 B n F"]:
        """Room for two results of the size of a part, to be used by all updates."""
        batch, _, bins = self.data.shape
        return self.data.new_empty(2, batch, self.rows, bins)

    def apply(
        self, activations: Tensor, templates: Tensor, active: Bool[Tensor, " B"] | None, room: Tensor
    ) -> tuple[list[Ratio], Ratio | None]:
        """Update the factors of active items in place.

        Returns:
            By which ratios: those of the activations, part by part, and that of the templates if they are learned.
        """
        _, frames, bins = self.data.shape
        ratios = []
        # What a frame adds to the denominator in the simple cases does not depend on it, but for its activations.
        sums = templates.sum(-1)[:, None] if self.beta == 1 else None
        gram = templates @ templates.mT if self.beta == 2 else None
        above = torch.zeros_like(templates) if self.learn else None
        below = torch.zeros_like(templates) if self.learn and sums is None and gram is None else None
        for part in self.parts():
            own = activations[:, part]
            weighted, powers = self._compared(part, own, templates, room)
            denominator = sums if gram is None else torch.bmm(own, gram)
            denominator = torch.bmm(powers, templates.mT) if denominator is None else denominator
            ratio = torch.bmm(weighted, templates.mT), self._penalised(denominator, bins, own)
            self._multiply(own, ratio, active)
            ratios.append(ratio)
            if above is not None:
                weighted, powers = self._compared(part, own, templates, room)
                above.baddbmm_(own.mT, weighted)
            if below is not None:
                below.baddbmm_(own.mT, powers)
        if above is None:
            return ratios, None
        if gram is not None:
            below = torch.bmm(activations.mT @ activations, templates)
        denominator = activations.sum(1)[..., None] if below is None else below
        ratio = above, self._penalised(denominator, frames, templates)
        self._multiply(templates, ratio, active)
        return ratios, ratio

    def _compared(self, part: slice, own: Tensor, templates: Tensor, room: Tensor) -> tuple[Tensor, Tensor]:
        """Of some frames, the data times the model's power beta - 2, and its power beta - 1, where that is needed."""
        data = self.data[:, part]
        if self.beta == 2:
            return data, data
        weighted, powers = room[0, :, : data.shape[1]], room[1, :, : data.shape[1]]
        if self.beta == 1:
            torch.bmm(own, templates, out=weighted)
            torch.div(data, weighted, out=weighted)
        elif self.beta == 0:
            torch.bmm(own, templates, out=powers)
            torch.mul(data, powers.reciprocal_(), out=weighted).mul_(powers)
        else:
            torch.bmm(own, templates, out=powers)
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
    room = _TOGETHER.get(data.device.type, _DEVICE_TOGETHER)
    rows = math.ceil(frames / math.ceil(frames * bins / room))
    together = max(1, room // (frames * bins))
    groups = [slice(first, first + together) for first in range(0, items, together)]
    return [(group, Updates(data[group], penalties[group], beta, learn, rows)) for group in groups]
