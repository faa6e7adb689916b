"""The gradient of multiplicative updates, with memory that grows with the square root of their number.

The updates are recomputed. The factors, which are small, are first checkpointed after every n-th update, where n is
the square root of the number of updates, and then recomputed between two checkpoints, from the last one to the first.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torchsep.functional.nmf._updates import Ratio, Updates

__all__ = ["Gradients", "backpropagate"]


class Gradients(NamedTuple):
    """Gradients of the inputs of the updates, accumulated in place."""

    data: Float[Tensor, "B N F"]
    penalties: Float[Tensor, "B P"]
    activations: Float[Tensor, "B K N"]
    templates: Float[Tensor, "B K F"]


Factors = tuple[Float[Tensor, "B K N"], Float[Tensor, "B K F"]]


def backpropagate(updates: Updates, initial: Factors, count: Int[Tensor, " B"], gradients: Gradients) -> None:
    """Transform the gradients of the updated factors, in place, to those of the initial factors, data and penalties.

    Args:
        updates: as in the forward pass.
        initial: the factors before the updates.
        count: number of updates of each item.
        gradients: of the updated factors; zeros for data and penalties.
    """
    updates = replace(updates, lanes=1)
    total = int(count.max())
    interval = math.isqrt(max(1, total - 1)) + 1

    def active(number: int) -> Bool[Tensor, " B"] | None:
        return None if bool((count > number).all()) else count > number

    def step(factors: Factors, number: int) -> Factors:
        return _updated(updates, factors, active(number))[0]

    checkpoints = [initial]
    current = initial
    for number in range(total - 1):
        current = step(current, number)
        if (number + 1) % interval == 0:
            checkpoints.append(current)
    for first in reversed(range(0, total, interval)):
        recomputed = [checkpoints.pop()]
        for number in range(first, min(first + interval, total) - 1):
            recomputed.append(step(recomputed[-1], number))
        for number in reversed(range(first, min(first + interval, total))):
            _backward_step(updates, recomputed.pop(), active(number), gradients)


def _updated(updates: Updates, factors: Factors, active: Tensor | None) -> tuple[Factors, list[Ratio], Ratio | None]:
    """The factors after another update, and its ratios."""
    new = factors[0].clone(), factors[1].clone() if updates.learn else factors[1]
    return new, *updates.apply(*new, updates.blocks(*new), active)


def _backward_step(updates: Updates, factors: Factors, active: Tensor | None, gradients: Gradients) -> None:
    """Transform the gradients of the factors after an update to those of the factors before it."""
    _, frames, bins = updates.data.shape
    activations, templates = factors
    new, ratios, ratio = _updated(updates, factors, active)
    into_templates = gradients.templates
    if ratio is not None:
        into_ratio = _backward_ratio(updates, templates, ratio, active, into_templates)
        _backward_penalty(updates, frames, templates, into_ratio[1], into_templates, gradients.penalties)
    for block, own_ratio in zip(updates.slices(), ratios, strict=True):
        old, own, into = activations[..., block], new[0][..., block], gradients.activations[..., block]
        if ratio is not None:
            terms, into_model = _backward_model(
                updates, block, (own, templates), [own.mT @ gradient for gradient in into_ratio], gradients.data
            )
            into_templates.baddbmm_(own, into_model)
            into.baddbmm_(templates, into_model.mT)
            for values, gradient in zip(terms, into_ratio, strict=True):
                into.baddbmm_(gradient.expand_as(templates), values.mT)
        into_own_ratio = _backward_ratio(updates, old, own_ratio, active, into)
        _backward_penalty(updates, bins, old, into_own_ratio[1], into, gradients.penalties)
        terms, into_model = _backward_model(
            updates, block, (old, templates), [gradient.mT @ templates for gradient in into_own_ratio], gradients.data
        )
        into_templates.baddbmm_(old, into_model)
        into.baddbmm_(templates, into_model.mT)
        for values, gradient in zip(terms, into_own_ratio, strict=True):
            into_templates.baddbmm_(gradient, values)


def _backward_ratio(updates: Updates, own: Tensor, ratio: Ratio, active: Tensor | None, into: Tensor) -> Ratio:
    """The gradients of numerator and denominator; that of the factor is transformed in place."""
    above, below = ratio
    factor = above / below
    if updates.exponent != 1:
        factor.pow_(updates.exponent)
    clamped = own * factor < updates.minimum
    direct = into.masked_fill(clamped, 0.0) * factor
    through = direct * own * updates.exponent
    if active is not None:
        inactive = ~active[:, None, None]
        direct = torch.where(inactive, into, direct)
        through.masked_fill_(inactive, 0.0)
    into.copy_(direct)
    return through / above.masked_fill(clamped, 1.0), -through / below


def _backward_penalty(
    updates: Updates, size: int, own: Tensor, into_below: Tensor, into: Tensor, into_penalties: Tensor
) -> None:
    if updates.penalties.shape[1]:
        into += size * updates.penalties[:, 1:, None] * into_below
        into_penalties += size * torch.stack((into_below.sum((1, 2)), (into_below * own).sum((1, 2))), -1)


def _backward_model(
    updates: Updates, block: slice, factors: Factors, into_terms: list[Tensor], into_data: Tensor
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """The data times the model to the power beta - 2, the model to the power beta - 1, and the model's gradient."""
    beta = updates.beta
    model = torch.bmm(factors[0].mT, factors[1])
    powers = model.pow(beta - 2)
    weighted = updates.data[:, block] * powers
    into_weighted, into_powers = into_terms
    into_data[:, block].addcmul_(into_weighted, powers)
    into_model = into_weighted.mul_(beta - 2).mul_(weighted).div_(model)
    into_model += into_powers.mul_(powers).mul_(beta - 1)
    return (weighted, powers.mul_(model)), into_model
