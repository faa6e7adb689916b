"""Multiplicative updates until convergence, as one custom operator that saves nothing but its inputs for backward."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchsep.functional._custom_ops import operator, register_gradient, without_autocast
from torchsep.functional.nmf._backward import Gradients, backpropagate
from torchsep.functional.nmf._updates import Updates, grouped, min_factor

__all__ = ["divergences", "multiplicative_updates"]

# Number of updates between two tests of convergence.
_TEST_INTERVAL = 10


def divergences(data: Tensor, model: Tensor, beta: float) -> Tensor:
    """The elements of the sum in :func:`torchsep.functional.beta_divergence`."""
    if beta == 2:
        return 0.5 * (data - model).square()
    if beta == 0:
        ratio = data / model
        return ratio - ratio.log() - 1
    if beta == 1:
        ratio = (data / model).clamp(min=torch.finfo(data.dtype).tiny)  # its logarithm is multiplied by zero data
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
    """Activations and templates after updates of both, or of the activations only, and the number of updates per item.

    Args:
        data: ``(B, N, F)``, non-negative, with a mean of about one; positive for beta at or below zero.
        penalties: ``(B, 2)``, weights of the L1 and squared L2 norms, or ``(B, 0)`` for none.
        activations: ``(B, K, N)``, initial values.
        templates: ``(B, K, F)``, initial or fixed values.
        beta: parameter of the beta-divergence.
        max_iter: maximum number of updates.
        tol: an item has converged once ten updates decrease the root of its divergence by less than this fraction of
            the initial one.
        learn: whether the templates are updated.
    """
    minimum = min_factor(beta)
    activations, templates = activations.clamp(min=minimum).contiguous(), templates.clamp(min=minimum).contiguous()
    count = torch.zeros(len(data), dtype=torch.long, device=data.device)
    with without_autocast(data.device):
        for items, updates in grouped(data, penalties, beta, learn=learn):
            _run(updates, (activations[items], templates[items]), count[items], max_iter, tol)
    return activations, templates, count


def _run(updates: Updates, factors: tuple[Tensor, Tensor], count: Tensor, max_iter: int, tol: float) -> None:
    """Update factors and their number of updates in place."""
    blocks = updates.blocks(*factors)
    active: Bool[Tensor, " B"] | None = None
    initial = previous = _root_divergence(updates, *factors) if tol > 0 else count
    for number in range(1, max_iter + 1):
        updates.apply(*factors, blocks, active)
        count += 1 if active is None else active
        if tol > 0 and number % _TEST_INTERVAL == 0:
            current = _root_divergence(updates, *factors)
            decreasing = previous - current >= tol * initial  # false for NaN
            active = decreasing if active is None else active & decreasing
            if not active.any():
                break
            previous = current
            active = None if active.all() else active


def _root_divergence(updates: Updates, activations: Tensor, templates: Tensor) -> Float[Tensor, " B"]:
    total = torch.zeros(len(activations), dtype=torch.float64, device=activations.device)
    for block in updates.slices():
        terms = divergences(updates.data[:, block], torch.bmm(activations[..., block].mT, templates), updates.beta)
        total += terms.sum((1, 2))
    return total.clamp(min=0).sqrt()


@operator(lambda data, penalties, activations, templates, *_: _like(data, penalties, activations, templates))
def _gradient_of_updates(  # noqa: PLR0913, PLR0917
    data: Tensor,
    penalties: Tensor,
    activations: Tensor,
    templates: Tensor,
    count: Tensor,
    into_activations: Tensor,
    into_templates: Tensor,
    beta: float,
    learn: bool,  # noqa: FBT001
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of data, penalties, activations and templates, given those of the updated factors."""
    minimum = min_factor(beta)
    zeros = (torch.zeros_like(tensor, memory_format=torch.contiguous_format) for tensor in (data, penalties))
    copies = (tensor.clone(memory_format=torch.contiguous_format) for tensor in (into_activations, into_templates))
    gradients = Gradients(*zeros, *copies)
    with without_autocast(data.device):
        for items, updates in grouped(data, penalties, beta, learn=learn):
            initial = activations[items].clamp(min=minimum), templates[items].clamp(min=minimum)
            backpropagate(updates, initial, count[items], Gradients(*(gradient[items] for gradient in gradients)))
    gradients.activations.masked_fill_(activations < minimum, 0.0)
    gradients.templates.masked_fill_(templates < minimum, 0.0)
    return gradients.data, gradients.penalties, gradients.activations, gradients.templates


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    data, penalties, activations, templates, ctx.beta, _, _, ctx.learn = inputs
    ctx.save_for_backward(data, penalties, activations, templates, output[2])


def _backward(ctx: Any, into_activations: Tensor, into_templates: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    data, penalties, activations, templates, count = ctx.saved_tensors
    gradients = _gradient_of_updates(
        data, penalties, activations, templates, count, into_activations, into_templates, ctx.beta, ctx.learn
    )
    return *gradients, None, None, None, None


register_gradient(multiplicative_updates, _setup, _backward)
