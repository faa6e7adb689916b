"""Custom operators of the EM fit of Gaussian mixtures and its gradient."""

from functools import reduce
from typing import Any

import torch
from torch import Tensor

from torchsep.functional._custom_ops import operator, register_gradient
from torchsep.functional.clustering._em import fit_em, fit_em_gradient, items_per_group
from torchsep.functional.clustering.kmeans import kmeans

__all__ = ["fit_mixture"]


def _empty_mixture(points: Tensor, weights: Tensor, floor: Tensor, *rest: Any) -> tuple[Tensor, ...]:  # noqa: ARG001
    count, kind = rest[3], rest[4]
    items, features = points.shape[:2]
    shapes = {
        "full": (count, features, features),
        "tied": (features, features),
        "diag": (count, features),
        "spherical": (count,),
    }
    log_weights, means = points.new_empty(items, count), points.new_empty(items, count, features)
    covariances = points.new_empty(items, *shapes[kind])
    labels = points.new_empty(items, points.shape[2], dtype=torch.long)
    return log_weights, means, covariances, labels, points.new_empty(items, dtype=torch.long)


@operator(_empty_mixture)
def fit_mixture(  # noqa: PLR0913, PLR0917
    points: Tensor,
    weights: Tensor,
    floor: Tensor,
    log_weights: Tensor | None,
    means: Tensor | None,
    covariances: Tensor | None,
    count: int,
    kind: str,
    max_iter: int,
    tol: float,
    n_init: int,
    seed: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The fitted state of each item, its initial labels, and the number of iterations."""
    settings = kind, count, max_iter, tol
    whole: list[tuple[Tensor, ...]] = []
    size = items_per_group(points, count)
    for first in range(0, len(points), size):
        group = slice(first, first + size)
        data = points[group], weights[group], floor[group]
        labels = torch.zeros_like(weights[group], dtype=torch.long)
        if log_weights is not None and means is not None and covariances is not None:
            state, iterations, _ = fit_em(data, (log_weights[group], means[group], covariances[group]), settings)
            whole.append((*state, labels, iterations))
            continue
        fits: list[tuple[Tensor, ...]] = []
        for attempt in range(seed, seed + n_init):
            labels = kmeans(data[0].mT, count, weights=data[1], seed=attempt).labels
            state, iterations, likelihood = fit_em(data, labels, settings)
            fits.append((*state, labels, iterations, likelihood))
        whole.append(reduce(_likelier, fits)[:-1])
    a, b, c, d, e = (torch.cat(parts) for parts in zip(*whole, strict=True))
    return a, b, c, d, e


def _likelier(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The fit with the larger likelihood, its last element, for each item; the first one if they are equal."""
    better = other[-1] > one[-1]
    return tuple(
        torch.where(better.view(-1, *[1] * (new.dim() - 1)), new, old) for old, new in zip(one, other, strict=True)
    )


def _empty_gradient(points: Tensor, weights: Tensor, floor: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    return tuple(
        torch.empty_like(t, memory_format=torch.contiguous_format) for t in (points, weights, floor, *rest[5:8])
    )


@operator(_empty_gradient)
def _mixture_gradient(  # noqa: PLR0913, PLR0917
    points: Tensor,
    weights: Tensor,
    floor: Tensor,
    labels: Tensor,
    iterations: Tensor,
    log_weights: Tensor | None,
    means: Tensor | None,
    covariances: Tensor | None,
    to_log_weights: Tensor,
    to_means: Tensor,
    to_covariances: Tensor,
    kind: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    count = to_log_weights.shape[1]
    gradients = to_log_weights, to_means, to_covariances
    whole = []
    size = items_per_group(points, count)
    for first in range(0, len(points), size):
        group = slice(first, first + size)
        init: Any = labels[group]
        if log_weights is not None and means is not None and covariances is not None:
            init = log_weights[group], means[group], covariances[group]
        data = points[group], weights[group], floor[group]
        upstream = [gradient[group] for gradient in gradients]
        to_data, to_start = fit_em_gradient(data, init, (kind, count), iterations[group], upstream)
        whole.append((*to_data, *to_start))
    a, b, c, d, e, f = (torch.cat(parts) for parts in zip(*whole, strict=True))
    return a, b, c, d, e, f


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:6], *output[3:])
    ctx.kind = inputs[7]


def _backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
    points, weights, floor, log_weights, means, covariances, labels, iterations = ctx.saved_tensors
    init = log_weights, means, covariances
    upstream = gradients[0], gradients[1], gradients[2]
    found = _mixture_gradient(points, weights, floor, labels, iterations, *init, *upstream, ctx.kind)
    return *found[:3], *(found[3:] if means is not None else [None] * 3), *[None] * 6


register_gradient(fit_mixture, _setup, _backward)
