r"""Losses of embeddings: bins of one source should be alike, bins of two not.

Both take embeddings ``(B, P, D)`` of the bins, their assignments ``(B, P, S)``, one-hot or soft, and weights
``(B, P)``, and give one value an item; for the bins there may be any axes, such as ``(B, C, F, N, D)``. The sum of an
item's weights plays no part; where it is zero the loss is zero. None are all the same.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.losses.inputs import at_least_single

__all__ = ["deep_clustering_loss", "whitened_kmeans_loss"]

Embedding = Float[Tensor, "B *bins D"]
Assignments = Float[Tensor, "B *bins S"]
Weights = Float[Tensor, "B *bins"]
Losses = Float[Tensor, " B"]


def deep_clustering_loss(embedding: Embedding, assignments: Assignments, weights: Weights | None = None) -> Losses:
    r"""How far the affinities of embeddings are from those of their sources, the weighted mean over all pairs of bins.

    .. math::
        \sum_{pq} w_p w_q \left( v_p^\top v_q - y_p^\top y_q \right)^2
        = \lVert V^\top W V \rVert_F^2 - 2 \lVert V^\top W Y \rVert_F^2 + \lVert Y^\top W Y \rVert_F^2

    with weights :math:`w` that add up to one, so that for embeddings of unit length it lies between zero and four,
    most often below one, for any number of bins. The pairs are never formed: time and memory grow with that number.

    Args:
        embedding: :math:`V`, usually of unit length.
        assignments: :math:`Y`, as of ``ideal_assignments``.
        weights: :math:`W`, as of ``magnitude_weights``.

    Gradient:
        Exact.

    Example:
        >>> embedding = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
        >>> deep_clustering_loss(embedding, torch.eye(2)[None, [0, 0, 1]])
        tensor([0.])
        >>> deep_clustering_loss(embedding, torch.eye(2)[None, [0, 1, 1]], torch.tensor([[1.0, 1.0, 0.0]]))
        tensor([0.5000])

    References:
        J. Hershey, Z. Chen, J. Le Roux and S. Watanabe, "Deep clustering: discriminative embeddings for segmentation
        and separation", ICASSP, 2016.
    """
    among, between, sources, _ = _products(embedding, assignments, weights)
    return among.square().sum((1, 2)) - 2 * between.square().sum((1, 2)) + sources.square().sum((1, 2))


def whitened_kmeans_loss(embedding: Embedding, assignments: Assignments, weights: Weights | None = None) -> Losses:
    r"""How much of the embeddings, whitened, their sources' means leave unexplained.

    .. math::
        D - \operatorname{tr} \left(
        (V^\top W V)^{-1} V^\top W Y (Y^\top W Y)^{-1} Y^\top W V \right)

    It lies between :math:`D - S` and :math:`D`, and does not change with any invertible map of the embedding, so that
    large sources do not outweigh small ones. It did best in the paper; :func:`deep_clustering_loss` needs no inverse.

    Args:
        embedding: :math:`V`.
        assignments: :math:`Y`, as of ``ideal_assignments``. A source without bins explains nothing.
        weights: :math:`W`, as of ``magnitude_weights``.

    Gradient:
        Exact, but for a ridge of the precision times the trace on both inverses, which is held. It leaves directions
        out in which there is nothing.

    Example:
        >>> embedding = torch.tensor([[[2.0, 0.0], [2.0, 0.0], [0.0, 1.0]]])
        >>> whitened_kmeans_loss(embedding, torch.eye(2)[None, [0, 0, 1]]).abs() < 1e-5
        tensor([True])
        >>> whitened_kmeans_loss(embedding, torch.eye(2)[None, [0, 1, 1]]).round(decimals=3)
        tensor([0.7500])

    References:
        Z.-Q. Wang, J. Le Roux and J. Hershey, "Alternative objective functions for deep clustering", ICASSP, 2018.
    """
    among, between, sources, total = _products(embedding, assignments, weights)
    whitened, _ = torch.linalg.solve_ex(_ridged(among), between)
    means, _ = torch.linalg.solve_ex(_ridged(sources), between.mT)
    explained = (whitened * means.mT).sum((1, 2))
    return (among.shape[-1] - explained).masked_fill(total == 0, 0.0)


def _products(
    embedding: Embedding, assignments: Assignments, weights: Weights | None
) -> tuple[Float[Tensor, "B D D"], Float[Tensor, "B D S"], Float[Tensor, "B S S"], Losses]:
    """Those of embeddings and assignments over all bins, with weights that add up to one; and what they added up to."""
    shape = tuple(embedding.shape[:-1])
    if embedding.dim() < 3 or tuple(assignments.shape[:-1]) != shape:
        got = tuple(embedding.shape), tuple(assignments.shape)
        raise ValueError(f"embedding and assignments must have shapes (B, P, D) and (B, P, S), got {got}")
    if weights is not None and tuple(weights.shape) != shape:
        raise ValueError(f"weights must have shape {shape}, got {tuple(weights.shape)}")
    points = at_least_single(embedding).flatten(1, -2)
    owners = assignments.to(points.dtype).flatten(1, -2)
    shares = points.new_ones(1, 1) if weights is None else weights.to(points.dtype).flatten(1)
    total = shares.expand(points.shape[:-1]).sum(1)
    shares = (shares / total.masked_fill(total == 0, 1.0)[:, None])[..., None]
    with torch.autocast(points.device.type, enabled=False):
        weighted = shares * owners
        return points.mT @ (shares * points), points.mT @ weighted, owners.mT @ weighted, total


def _ridged(gram: Float[Tensor, "B M M"]) -> Float[Tensor, "B M M"]:
    """With so much on the diagonal that it can be inverted, where there is nothing by one."""
    trace = gram.detach().diagonal(dim1=-2, dim2=-1).sum(-1)
    ridge = (trace * torch.finfo(gram.dtype).eps).masked_fill(trace == 0, 1.0)
    return gram + torch.diag_embed(ridge[:, None].expand(gram.shape[:-1]))
