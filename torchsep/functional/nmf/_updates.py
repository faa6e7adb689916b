"""Multiplicative updates of a non-negative matrix factorisation, in blocks of frames that stay in cache.

Data are ``(B, N, F)``, activations ``(B, K, N)`` and templates ``(B, K, F)``. An update passes over the frames once:
the activations of each block are updated, and its contribution to the update of the templates is accumulated.

On a CPU, products with few components use one thread. The frames of a block of a single item are therefore split into
as many lanes as there are threads, as a batch of smaller products with the same templates.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchsep.functional._chunks import BlockSize

__all__ = ["Block", "Ratio", "Updates", "grouped", "min_factor"]

# Blocks of a multiple of this number of frames are aligned in memory.
_ALIGNMENT = 16

# Elements of the data in a block, for each lane.
_BLOCK = BlockSize(cpu=1 << 17, accelerator=1 << 27)


def min_factor(beta: float) -> float:
    """The lower bound of the factors: close to zero, but large enough for values to grow again.

    No power of a product of two factors overflows in single precision. There are no powers for beta of two.
    """
    if beta == 2:
        return 1e-16
    return max(1e-8, 10 ** (-15 / (2 - beta))) if beta < 2 else 1e-8


# Numerator and denominator.
Ratio = tuple[Tensor, Tensor]


class Block(NamedTuple):
    """Views of a block of frames, in L lanes or of all items, with buffers for intermediate results."""

    data: Float[Tensor, "L n F"]
    activations: Float[Tensor, "L K n"]
    templates: Float[Tensor, "L K F"]
    weighted: Float[Tensor, "L n F"]  # data times the model to the power beta - 2
    powers: Float[Tensor, "L n F"]  # the model to the power beta - 1


@dataclass(frozen=True)
class Updates:
    """Multiplicative updates of the factors of a group of items.

    Args:
        data: non-negative values with a mean of about one; positive for beta at or below zero.
        penalties: weights of the L1 and squared L2 norms, or no columns.
        beta: parameter of the beta-divergence.
        learn: whether the templates are updated too.
        size: number of frames in a block, a multiple of the lanes.
        lanes: number of lanes of a block; one for several items.
    """

    data: Float[Tensor, "B N F"]
    penalties: Float[Tensor, "B P"]
    beta: float
    learn: bool
    size: int
    lanes: int = 1

    @cached_property
    def minimum(self) -> float:
        """The lower bound of the factors."""
        return min_factor(self.beta)

    @cached_property
    def exponent(self) -> float:
        """The power of the ratio for which no update increases the loss."""
        if self.beta < 1:
            return 1 / (2 - self.beta)
        return 1 / (self.beta - 1) if self.beta > 2 else 1.0

    def slices(self) -> list[slice]:
        """The frames of each block; those that the lanes do not divide are the last block."""
        frames = self.data.shape[1]
        even = frames - frames % self.lanes
        slices = [slice(first, min(first + self.size, even)) for first in range(0, even, self.size)]
        return slices if even == frames else [*slices, slice(even, frames)]

    def blocks(self, activations: Float[Tensor, "B K N"], templates: Float[Tensor, "B K F"]) -> list[Block]:
        """The blocks of given factors, which are updated in place; the blocks share buffers."""
        elements = len(self.data) * self.size * self.data.shape[-1]
        buffers = self.data.new_empty(elements), self.data.new_empty(elements)
        blocks = []
        for frames in self.slices():
            data, own = self.data[:, frames], activations[..., frames]
            if self.lanes > 1 and own.shape[-1] % self.lanes == 0:
                data = data[0].unflatten(0, (self.lanes, -1))
                own = own[0].unflatten(1, (self.lanes, -1)).movedim(1, 0)
            weighted, powers = (buffer[: data.numel()].view(data.shape) for buffer in buffers)
            if self.beta == 2:
                weighted = powers = data
            elif self.beta == 1:
                powers = weighted  # not used
            blocks.append(Block(data, own, templates.expand(len(own), -1, -1), weighted, powers))
        return blocks

    def apply(
        self,
        activations: Float[Tensor, "B K N"],
        templates: Float[Tensor, "B K F"],
        blocks: list[Block],
        active: Bool[Tensor, " B"] | None = None,
    ) -> tuple[list[Ratio], Ratio | None]:
        """Update the factors of active items in place.

        Returns:
            The ratios of the activations, block by block, and the ratio of the templates, if they are learned.
        """
        bins = self.data.shape[-1]
        ratios = []
        # For these two divergences the denominators do not need the model.
        sums = templates.sum(-1, keepdim=True) if self.beta == 1 else None
        gram = templates @ templates.mT if self.beta == 2 else None
        needs_powers = sums is None and gram is None
        lanes = max(len(templates), self.lanes)
        numerator = templates.new_zeros(lanes, *templates.shape[1:])
        denominator = torch.zeros_like(numerator) if needs_powers else numerator
        for block in blocks:
            own = block.activations
            self._compare(block)
            below = sums
            if below is None:
                below = torch.bmm(block.templates, block.powers.mT) if gram is None else gram @ own
            ratio = torch.bmm(block.templates, block.weighted.mT), self._penalised(below, bins, own)
            self._multiply(own, ratio, active)
            ratios.append(ratio)
            if self.learn:
                self._compare(block)
                numerator[: len(own)].baddbmm_(own, block.weighted)
                if needs_powers:
                    denominator[: len(own)].baddbmm_(own, block.powers)
        if not self.learn:
            return ratios, None
        ratio = self._template_ratio(activations, templates, numerator, denominator)
        self._multiply(templates, ratio, active)
        return ratios, ratio

    def _template_ratio(self, activations: Tensor, templates: Tensor, numerator: Tensor, denominator: Tensor) -> Ratio:
        """The ratio of the templates, from sums over the blocks in each lane."""
        if self.lanes > 1:
            numerator, denominator = (total.sum(0, keepdim=True) for total in (numerator, denominator))
        if self.beta == 1:
            denominator = activations.sum(-1, keepdim=True)
        elif self.beta == 2:
            denominator = activations @ activations.mT @ templates
        return numerator, self._penalised(denominator, self.data.shape[1], templates)

    def _compare(self, block: Block) -> None:
        """Compute the data times the model to the power beta - 2, and its power beta - 1 where that is needed."""
        data, own, templates, weighted, powers = block
        if self.beta == 2:
            return
        torch.bmm(own.mT, templates, out=powers)
        if self.beta == 1:
            torch.div(data, powers, out=weighted)
        elif self.beta == 0:
            torch.mul(data, powers.reciprocal_(), out=weighted).mul_(powers)
        else:
            torch.pow(powers, self.beta - 2, out=weighted)
            powers.mul_(weighted)
            weighted.mul_(data)

    def _penalised(self, denominator: Tensor, size: int, own: Tensor) -> Tensor:
        """The denominator with the derivative of the penalties, scaled by the length of the other side of the data."""
        if not self.penalties.shape[1]:
            return denominator
        return denominator + size * (self.penalties[:, :1, None] + self.penalties[:, 1:, None] * own)

    def _multiply(self, own: Tensor, ratio: Ratio, active: Tensor | None) -> None:
        factor = torch.div(*ratio)
        if self.exponent != 1:
            factor.pow_(self.exponent)
        if active is not None:
            factor.masked_fill_(~active[:, None, None], 1.0)
        own.mul_(factor).clamp_(min=self.minimum)


def grouped(data: Tensor, penalties: Tensor, beta: float, *, learn: bool) -> list[tuple[slice, Updates]]:
    """Groups of items that are updated together. The blocks do not depend on the number of items."""
    items, frames, bins = data.shape
    limit = _BLOCK.on(data.device)
    lanes = torch.get_num_threads() if data.device.type == "cpu" and frames * bins > limit else 1
    count = math.ceil(frames * bins / (limit * lanes))  # of blocks
    size = math.ceil(frames / count / (_ALIGNMENT * lanes)) * _ALIGNMENT * lanes
    group = math.ceil(items / max(1, round(items * frames * bins / limit))) if items and lanes == 1 else 1
    groups = [slice(first, first + group) for first in range(0, items, group)]
    return [(group, Updates(data[group], penalties[group], beta, learn, size, lanes)) for group in groups]
