"""Multiplicative updates of a non-negative factorisation as one operator, until they change little.

Nothing is kept for backward but what goes in.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from torchsep.functional._custom_ops import operator, register_gradient
from torchsep.functional.nmf._backward import Gradients, run_back
from torchsep.functional.nmf._updates import Updates, least_factor, parted

__all__ = ["divergences", "multiplicative_updates"]

# Convergence is looked for after every so many updates.
_CHECKED = 10


def divergences(data: Tensor, model: Tensor, beta: float) -> Tensor:
    """Of each value from its model, as :func:`torchsep.functional.beta_divergence` sums them up."""
    if beta == 2:
        return 0.5 * (data - model).square()
    if beta == 0:
        ratio = data / model
        return ratio - ratio.log() - 1
    if beta == 1:
        ratio = (data / model).clamp(min=torch.finfo(data.dtype).tiny)  # any will do where the data are zero
        return data * ratio.log() - data + model
    zero = data == 0
    positive = data.masked_fill(zero, 1.0)
    own = positive.pow(beta).masked_fill(zero, 0.0) if beta > 0 else data.pow(beta)
    cross = (beta - 1) * model.pow(beta) - beta * data * model.pow(beta - 1)
    return (own + cross) / (beta * (beta - 1))


def _like(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in tensors)


@operator(
    lambda data, penalties, activations, templates, beta, max_iter, tol, learn: (  # noqa: ARG005
        *_like(activations, templates),
        data.new_empty(len(data), dtype=torch.long),
    )
)
def multiplicative_updates(  # noqa: PLR0913, PLR0917 - an operator takes tensors and plain values alone
    data: Tensor,
    penalties: Tensor,
    activations: Tensor,
    templates: Tensor,
    beta: float,
    max_iter: int,
    tol: float,
    learn: bool,  # noqa: FBT001
) -> tuple[Tensor, Tensor, Tensor]:
    """Activations and templates after updates of both, or of activations alone, and the number that each item had.

    Args:
        data: ``(B, N, E)``, not negative, of a mean about one; positive for beta at or below zero. Columns above the F
            that templates have do not count, and are positive.
        penalties: ``(B, 2)``, factors of the sums of values and of half of their squares, or ``(B, 0)`` for none.
        activations: ``(B, K, N)`` to start from.
        templates: ``(B, K, F)`` to start from, or to use.
        beta: of the divergence.
        max_iter: the most updates.
        tol: an item is done once ten updates lower the root of its divergence by less than this share of its first.
        learn: whether the templates are updated.
    """
    bins = templates.shape[-1]
    least = least_factor(beta)
    activations = activations.clamp(min=least).contiguous()
    templates = pad(templates.clamp(min=least), (0, data.shape[-1] - bins), value=1.0)
    done = torch.zeros(len(data), dtype=torch.long, device=data.device)
    with torch.autocast(data.device.type, enabled=False):
        for items, updates in parted(data, bins, penalties, beta, learn=learn):
            _run(updates, (activations[items], templates[items]), done[items], max_iter, tol)
    return activations, templates[..., :bins].contiguous(), done


def _run(updates: Updates, factors: tuple[Tensor, Tensor], done: Tensor, max_iter: int, tol: float) -> None:
    """Update factors in place, and count."""
    parts = updates.parts(*factors, updates.room())
    active: Bool[Tensor, " B"] | None = None
    first = previous = _root_divergence(updates, *factors) if tol > 0 else done
    for number in range(1, max_iter + 1):
        updates.apply(factors[1], parts, active)
        done += 1 if active is None else active
        if tol > 0 and number % _CHECKED == 0:
            updates.collect(parts, factors[0])
            current = _root_divergence(updates, *factors)
            going = previous - current >= tol * first  # false for what is not a number
            active = going if active is None else active & going
            if not active.any():
                break
            previous = current
            active = None if active.all() else active
    updates.collect(parts, factors[0])


def _root_divergence(updates: Updates, activations: Tensor, templates: Tensor) -> Float[Tensor, " B"]:
    total = torch.zeros(len(activations), dtype=torch.float64, device=activations.device)
    for part in updates.slices():
        terms = divergences(updates.data[:, part], torch.bmm(activations[..., part].mT, templates), updates.beta)
        total += terms[..., : updates.bins].sum((1, 2))
    return total.clamp(min=0).sqrt()


@operator(lambda data, penalties, activations, templates, *_: _like(data, penalties, activations, templates))
def _gradient_of_updates(  # noqa: PLR0913, PLR0917
    data: Tensor,
    penalties: Tensor,
    activations: Tensor,
    templates: Tensor,
    done: Tensor,
    into_activations: Tensor,
    into_templates: Tensor,
    beta: float,
    learn: bool,  # noqa: FBT001
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of data, penalties, activations and templates from those of the updated factors."""
    bins = templates.shape[-1]
    least = least_factor(beta)
    zeros = (torch.zeros_like(tensor, memory_format=torch.contiguous_format) for tensor in (data, penalties))
    copies = (tensor.clone(memory_format=torch.contiguous_format) for tensor in (into_activations, into_templates))
    gradients = Gradients(*zeros, *copies)
    with torch.autocast(data.device.type, enabled=False):
        for items, updates in parted(data, bins, penalties, beta, learn=learn):
            start = activations[items].clamp(min=least), templates[items].clamp(min=least)
            own = Gradients(*(gradient[items] for gradient in gradients))
            run_back(updates, start, done[items], own._replace(data=own.data[..., :bins]))
    gradients.activations.masked_fill_(activations < least, 0.0)
    gradients.templates.masked_fill_(templates < least, 0.0)
    return gradients.data, gradients.penalties, gradients.activations, gradients.templates


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    data, penalties, activations, templates, ctx.beta, _, _, ctx.learn = inputs
    ctx.save_for_backward(data, penalties, activations, templates, output[2])


def _backward(ctx: Any, into_activations: Tensor, into_templates: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    data, penalties, activations, templates, done = ctx.saved_tensors
    gradients = _gradient_of_updates(
        data, penalties, activations, templates, done, into_activations, into_templates, ctx.beta, ctx.learn
    )
    return *gradients, None, None, None, None


register_gradient(multiplicative_updates, _setup, _backward)
