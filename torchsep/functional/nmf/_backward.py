"""The gradient of multiplicative updates, in little room.

The updates are run again. Of the factors, which are small, those after every so many updates are kept, and then, from
the last of these back to the first, those in between: as many as the square root of the number of updates, twice.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torchsep.functional.nmf._updates import Ratio, Updates

__all__ = ["Gradients", "run_back"]


class Gradients(NamedTuple):
    """Of whatever goes into updates, summed up in place."""

    data: Float[Tensor, "B N F"]
    penalties: Float[Tensor, "B P"]
    activations: Float[Tensor, "B K N"]
    templates: Float[Tensor, "B K F"]


Factors = tuple[Float[Tensor, "B K N"], Float[Tensor, "B K F"]]


def run_back(updates: Updates, start: Factors, done: Int[Tensor, " B"], gradients: Gradients) -> None:
    """Turn the gradients of updated factors into those of the factors from the start, and of data and penalties.

    Args:
        updates: as they were run.
        start: the factors before them.
        done: number of updates of each item.
        gradients: zero of data and penalties.
    """
    updates = replace(updates.counted(), lanes=1)
    room = updates.room()
    total = int(done.max())
    span = math.isqrt(max(1, total - 1)) + 1

    def active(number: int) -> Bool[Tensor, " B"] | None:
        return None if bool((done > number).all()) else done > number

    def after(factors: Factors, number: int) -> Factors:
        return _updated(updates, factors, active(number), room)[0]

    kept = [start]
    current = start
    for number in range(total - 1):
        current = after(current, number)
        if (number + 1) % span == 0:
            kept.append(current)
    for first in reversed(range(0, total, span)):
        between = [kept.pop()]
        for number in range(first, min(first + span, total) - 1):
            between.append(after(between[-1], number))
        for number in reversed(range(first, min(first + span, total))):
            _back(updates, between.pop(), active(number), gradients, room)


def _updated(
    updates: Updates, factors: Factors, active: Tensor | None, room: Tensor
) -> tuple[Factors, list[Ratio], Ratio | None]:
    """The factors after one more update, and the ratios that this makes."""
    new = factors[0].clone(), factors[1].clone() if updates.learn else factors[1]
    parts = updates.parts(*new, room)
    ratios = updates.apply(new[1], parts, active)
    updates.collect(parts, new[0])
    return new, *ratios


def _back(updates: Updates, factors: Factors, active: Tensor | None, gradients: Gradients, room: Tensor) -> None:
    """Turn the gradients of the factors after an update into those before it."""
    _, frames, bins = updates.data.shape
    activations, templates = factors
    new, ratios, ratio = _updated(updates, factors, active, room)
    into_templates = gradients.templates
    if ratio is not None:
        through = _back_ratio(updates, templates, ratio, active, into_templates)
        _back_penalty(updates, frames, templates, through[1], into_templates, gradients.penalties)
    for part, own_ratio in zip(updates.slices(), ratios, strict=True):
        old, own, into = activations[..., part], new[0][..., part], gradients.activations[..., part]
        if ratio is not None:
            comparison, into_model = _back_model(
                updates, part, (own, templates), [own.mT @ gradient for gradient in through], gradients.data
            )
            into_templates.baddbmm_(own, into_model)
            into.baddbmm_(templates, into_model.mT)
            for values, gradient in zip(comparison, through, strict=True):
                into.baddbmm_(gradient, values.mT)
        own_through = _back_ratio(updates, old, own_ratio, active, into)
        _back_penalty(updates, bins, old, own_through[1], into, gradients.penalties)
        comparison, into_model = _back_model(
            updates, part, (old, templates), [gradient.mT @ templates for gradient in own_through], gradients.data
        )
        into_templates.baddbmm_(old, into_model)
        into.baddbmm_(templates, into_model.mT)
        for values, gradient in zip(comparison, own_through, strict=True):
            into_templates.baddbmm_(gradient, values)


def _back_ratio(updates: Updates, own: Tensor, ratio: Ratio, active: Tensor | None, into: Tensor) -> Ratio:
    """The gradients of numerator and denominator; in place, that of the factor itself."""
    above, below = ratio
    factor = above / below
    if updates.exponent != 1:
        factor.pow_(updates.exponent)
    held = own * factor < updates.least
    direct = into.masked_fill(held, 0.0) * factor
    through = direct * own * updates.exponent
    if active is not None:
        passed = ~active[:, None, None]
        direct = torch.where(passed, into, direct)
        through.masked_fill_(passed, 0.0)
    into.copy_(direct)
    return through / above.masked_fill(held, 1.0), -through / below


def _back_penalty(updates: Updates, size: int, own: Tensor, into_below: Tensor, into: Tensor, total: Tensor) -> None:
    if updates.penalties.shape[1]:
        into += size * updates.penalties[:, 1:, None] * into_below
        total += size * torch.stack((into_below.sum((1, 2)), (into_below * own).sum((1, 2))), -1)


def _back_model(
    updates: Updates, part: slice, factors: Factors, into_comparison: list[Tensor], into_data: Tensor
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """The data times the model's power beta - 2, and its power beta - 1, with the gradient of the model from theirs."""
    beta = updates.beta
    model = torch.bmm(factors[0].mT, factors[1])
    powers = model.pow(beta - 2)
    weighted = updates.data[:, part] * powers
    into_weighted, into_powers = into_comparison
    into_data[:, part].addcmul_(into_weighted, powers)
    into_model = into_weighted.mul_(beta - 2).mul_(weighted).div_(model)  # nothing, for beta of two, times much
    into_model += into_powers.mul_(powers).mul_(beta - 1)
    return (weighted, powers.mul_(model)), into_model
