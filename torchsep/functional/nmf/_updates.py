"""Multiplicative updates of a non-negative matrix factorisation, in blocks of frames.

Data are ``(B, N, F)``, activations ``(B, K, N)`` and templates ``(B, K, F)``. An update passes over the frames once:
the activations of each block are updated, and its contribution to the update of the templates is accumulated.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchsep.functional._chunks import BlockSize

__all__ = ["Ratio", "Updates", "Workspace", "grouped", "min_factor"]

# Blocks of a multiple of this number of frames are aligned in memory.
_ALIGNMENT = 16

# Elements of the data in a block.
_BLOCK = BlockSize(cpu=1 << 20, accelerator=1 << 27)


def min_factor(beta: float) -> float:
    """The lower bound of the factors: close to zero, but large enough for values to grow again.

    No power of a product of two factors overflows in single precision. There are no powers for beta of two.
    """
    if beta == 2:
        return 1e-16
    return max(1e-8, 10 ** (-15 / (2 - beta))) if beta < 2 else 1e-8


# Numerator and denominator.
Ratio = tuple[Tensor, Tensor]

Workspace = tuple[Float[Tensor, " elements"], Float[Tensor, " elements"]]


@dataclass(frozen=True)
class Updates:
    """Multiplicative updates of the factors of a group of items.

    Args:
        data: non-negative values with a mean of about one; positive for beta at or below zero.
        penalties: weights of the L1 and squared L2 norms, or no columns.
        beta: parameter of the beta-divergence.
        learn: whether the templates are updated too.
        size: number of frames in a block.
    """

    data: Float[Tensor, "B N F"]
    penalties: Float[Tensor, "B P"]
    beta: float
    learn: bool
    size: int

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

    def blocks(self) -> list[slice]:
        """The blocks of frames."""
        frames = self.data.shape[1]
        return [slice(first, min(first + self.size, frames)) for first in range(0, frames, self.size)]

    def workspace(self) -> Workspace:
        """Buffers for the intermediate results of a block, reused by all updates."""
        elements = len(self.data) * self.size * self.data.shape[-1]
        return self.data.new_empty(elements), self.data.new_empty(elements)

    def apply(
        self,
        activations: Float[Tensor, "B K N"],
        templates: Float[Tensor, "B K F"],
        workspace: Workspace,
        active: Bool[Tensor, " B"] | None = None,
    ) -> tuple[list[Ratio], Ratio | None]:
        """Update the factors of active items in place.

        Returns:
            The ratios of the activations, block by block, and the ratio of the templates, if they are learned.
        """
        _, frames, bins = self.data.shape
        ratios = []
        # For these two divergences the denominators do not need the model.
        sums = templates.sum(-1, keepdim=True) if self.beta == 1 else None
        gram = templates @ templates.mT if self.beta == 2 else None
        numerator = torch.zeros_like(templates)
        denominator = torch.zeros_like(templates)
        for block in self.blocks():
            own = activations[..., block]
            weighted, powers = self._compare(block, own, templates, workspace)
            below = sums
            if below is None:
                below = torch.bmm(templates, powers.mT) if gram is None else gram @ own
            ratio = torch.bmm(templates, weighted.mT), self._penalised(below, bins, own)
            self._multiply(own, ratio, active)
            ratios.append(ratio)
            if self.learn:
                weighted, powers = self._compare(block, own, templates, workspace)
                numerator.baddbmm_(own, weighted)
                if sums is None and gram is None:
                    denominator.baddbmm_(own, powers)
        if not self.learn:
            return ratios, None
        if gram is not None:
            denominator = activations @ activations.mT @ templates
        elif sums is not None:
            denominator = activations.sum(-1, keepdim=True)
        ratio = numerator, self._penalised(denominator, frames, templates)
        self._multiply(templates, ratio, active)
        return ratios, ratio

    def _compare(self, block: slice, own: Tensor, templates: Tensor, workspace: Workspace) -> tuple[Tensor, Tensor]:
        """The data times the model to the power beta - 2, and the model to the power beta - 1 where it is needed."""
        data = self.data[:, block]
        if self.beta == 2:
            return data, data
        weighted = workspace[0][: data.numel()].view(data.shape)
        if self.beta == 1:
            torch.bmm(own.mT, templates, out=weighted)
            torch.div(data, weighted, out=weighted)
            return weighted, weighted
        powers = workspace[1][: data.numel()].view(data.shape)
        torch.bmm(own.mT, templates, out=powers)
        if self.beta == 0:
            torch.mul(data, powers.reciprocal_(), out=weighted).mul_(powers)
        else:
            torch.pow(powers, self.beta - 2, out=weighted)
            powers.mul_(weighted)
            weighted.mul_(data)
        return weighted, powers

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
    """Groups of items that are updated together. The block size does not depend on the number of items."""
    items, frames, bins = data.shape
    limit = _BLOCK.on(data.device)
    size = math.ceil(frames / math.ceil(frames * bins / limit) / _ALIGNMENT) * _ALIGNMENT
    group = math.ceil(items / max(1, round(items * frames * bins / limit))) if items else 1
    groups = [slice(first, first + group) for first in range(0, items, group)]
    return [(items, Updates(data[items], penalties[items], beta, learn, size)) for items in groups]
