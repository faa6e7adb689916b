"""Custom operators of k-means, differentiable with the labels fixed."""

from functools import reduce
from typing import Any

import torch
from torch import Tensor

from torchsep.functional._custom_ops import operator, register_gradient
from torchsep.functional.clustering._lloyd import Fit, best_fit, better, lloyd, minibatch_centres
from torchsep.functional.clustering._packed_points import PackedPoints

__all__ = ["fit_kmeans", "fit_minibatch_kmeans"]


def _no_fit(points: Tensor, weights: Any, init: Any, n_clusters: int, *_: Any) -> Fit:  # noqa: ARG001
    items, count, features = points.shape
    centres, inertia = points.new_empty(items, n_clusters, features), points.new_empty(items)
    labels, seeds = (centres.new_empty(items, size, dtype=torch.long) for size in (count, n_clusters))
    return centres, labels, inertia, seeds


@operator(_no_fit)
def fit_kmeans(  # noqa: PLR0913, PLR0917
    points: Tensor,
    weights: Tensor | None,
    init: Tensor | None,
    n_clusters: int,
    max_iter: int,
    tol: float,
    n_init: int,
    seed: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Centres, labels, inertia, and the index of the point that is the centre of an empty cluster, else -1."""

    def iterate(packed: PackedPoints, centres: Tensor) -> Tensor:
        return lloyd(packed, centres, max_iter, tol)

    return best_fit(points, weights, init, n_clusters, range(seed, seed + n_init), iterate, tol)


@operator(_no_fit)
def fit_minibatch_kmeans(  # noqa: PLR0913, PLR0917
    points: Tensor,
    weights: Tensor | None,
    init: Tensor | None,
    n_clusters: int,
    batch_size: int,
    max_iter: int,
    tol: float,
    n_init: int,
    seed: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same by mini-batch k-means."""
    if weights is not None:
        weights = weights.masked_fill(weights.sum(-1, keepdim=True) == 0, 1.0)
    fits = []
    for attempt in range(seed, seed + (n_init if init is None else 1)):
        initial = minibatch_centres(points, weights, init, n_clusters, (batch_size, max_iter, tol, attempt))
        fits.append(best_fit(points, weights, initial, n_clusters, (0,), _unchanged, tol))
    return reduce(better, fits)


def _unchanged(packed: PackedPoints, centres: Tensor) -> Tensor:  # noqa: ARG001
    return centres


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Fit) -> None:
    ctx.save_for_backward(*inputs[:2], *output[:2], output[3])


def _backward(ctx: Any, centres_gradient: Tensor, _: Any, inertia_gradient: Tensor, *__: Any) -> tuple[Any, ...]:
    """The gradients of the weighted means of the points of each cluster, and of their squared distances to these."""
    points, weights, centres, labels, seeds = ctx.saved_tensors
    ones = torch.ones_like(labels, dtype=points.dtype)
    weight = ones if weights is None else torch.where(weights.sum(-1, keepdim=True) == 0, ones, weights)
    total = torch.zeros_like(centres[..., 0]).scatter_add(1, labels, weight)
    each = labels[..., None].expand_as(points)
    contribution = (centres_gradient / total.masked_fill(total == 0, 1.0)[..., None]).gather(1, each)
    offset = points - centres.gather(1, each)
    weightless = weight == 0
    to_points = (contribution + 2 * inertia_gradient[:, None, None] * offset) * weight[..., None]
    to_points = to_points.masked_fill(weightless[..., None], 0.0)
    of_seeds = centres_gradient.masked_fill((seeds < 0)[..., None], 0.0)
    to_points = to_points.scatter_add(1, seeds.clamp(min=0)[..., None].expand_as(centres), of_seeds)
    to_weights = None
    if weights is not None and ctx.needs_input_grad[1]:
        to_weights = ((contribution + inertia_gradient[:, None, None] * offset) * offset).sum(-1)
        to_weights = to_weights.masked_fill(weightless | (weights.sum(-1, keepdim=True) == 0), 0.0)
    return to_points, to_weights, *[None] * (len(ctx.needs_input_grad) - 2)


register_gradient(fit_kmeans, _setup, _backward)
register_gradient(fit_minibatch_kmeans, _setup, _backward)
