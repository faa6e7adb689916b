r"""Embedding losses: bins of the same source should have similar embeddings, bins of different sources dissimilar ones.

Both take embeddings ``(B, P, D)`` of the bins, assignments ``(B, P, S)``, one-hot or soft, and weights ``(B, P)``, and
return one value per item. The bin axis may be several axes, such as ``(B, C, F, N, D)``. Weights are normalised per
item; the loss is zero where their sum is zero. Without weights, all bins count equally.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional.samples import at_least_single

__all__ = ["deep_clustering_loss", "whitened_kmeans_loss"]

Embedding = Float[Tensor, "B *bins D"]
Assignments = Float[Tensor, "B *bins S"]
Weights = Float[Tensor, "B *bins"]
Losses = Float[Tensor, " B"]


def deep_clustering_loss(embedding: Embedding, assignments: Assignments, weights: Weights | None = None) -> Losses:
    r"""Deep clustering loss: weighted mean squared error between estimated and ideal affinities of all pairs of bins.

    .. math::
        \sum_{pq} w_p w_q \left( v_p^\top v_q - y_p^\top y_q \right)^2
        = \lVert V^\top W V \rVert_F^2 - 2 \lVert V^\top W Y \rVert_F^2 + \lVert Y^\top W Y \rVert_F^2

    with weights :math:`w` that sum to one. For embeddings of unit length the loss lies between zero and four, usually
    below one, for any number of bins. Affinity matrices are never formed: time and memory are linear in the number of
    bins.

    Args:
        embedding: :math:`V`, usually of unit length.
        assignments: :math:`Y`, for example from ``ideal_assignments``.
        weights: :math:`W`, for example from ``magnitude_weights``.

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
    auto, cross, sources, _ = _products(embedding, assignments, weights)
    return auto.square().sum((1, 2)) - 2 * cross.square().sum((1, 2)) + sources.square().sum((1, 2))


def whitened_kmeans_loss(embedding: Embedding, assignments: Assignments, weights: Weights | None = None) -> Losses:
    r"""Whitened k-means loss: variance of the whitened embeddings not explained by the means of their sources.

    .. math::
        D - \operatorname{tr} \left(
        (V^\top W V)^{-1} V^\top W Y (Y^\top W Y)^{-1} Y^\top W V \right)

    The loss lies between :math:`D - S` and :math:`D` and is invariant to invertible linear maps of the embedding, so
    that large sources do not outweigh small ones. It performed best in the paper; :func:`deep_clustering_loss` needs
    no inverse.

    Args:
        embedding: :math:`V`.
        assignments: :math:`Y`, for example from ``ideal_assignments``. A source without bins explains no variance.
        weights: :math:`W`, for example from ``magnitude_weights``.

    Gradient:
        Exact, except that the ridge on both inverses, machine epsilon times the trace, is treated as constant. The
        ridge removes null directions.

    Example:
        >>> embedding = torch.tensor([[[2.0, 0.0], [2.0, 0.0], [0.0, 1.0]]])
        >>> whitened_kmeans_loss(embedding, torch.eye(2)[None, [0, 0, 1]]).abs() < 1e-5
        tensor([True])
        >>> whitened_kmeans_loss(embedding, torch.eye(2)[None, [0, 1, 1]]).round(decimals=3)
        tensor([0.7500])

    References:
        Z.-Q. Wang, J. Le Roux and J. Hershey, "Alternative objective functions for deep clustering", ICASSP, 2018.
    """
    auto, cross, sources, total = _products(embedding, assignments, weights)
    whitened, _ = torch.linalg.solve_ex(_regularised(auto), cross)
    means, _ = torch.linalg.solve_ex(_regularised(sources), cross.mT)
    explained = (whitened * means.mT).sum((1, 2))
    return (auto.shape[-1] - explained).masked_fill(total == 0, 0.0)


def _products(
    embedding: Embedding, assignments: Assignments, weights: Weights | None
) -> tuple[Float[Tensor, "B D D"], Float[Tensor, "B D S"], Float[Tensor, "B S S"], Losses]:
    """Weighted Gram matrices of embeddings and assignments over all bins, and the sum of the weights."""
    shape = tuple(embedding.shape[:-1])
    if embedding.dim() < 3 or tuple(assignments.shape[:-1]) != shape:
        got = tuple(embedding.shape), tuple(assignments.shape)
        raise ValueError(f"embedding and assignments must have shapes (B, P, D) and (B, P, S), got {got}")
    if weights is not None and tuple(weights.shape) != shape:
        raise ValueError(f"weights must have shape {shape}, got {tuple(weights.shape)}")
    points = at_least_single(embedding).flatten(1, -2)
    labels = assignments.to(points.dtype).flatten(1, -2)
    scales = points.new_ones(1, 1) if weights is None else weights.to(points.dtype).flatten(1)
    total = scales.expand(points.shape[:-1]).sum(1)
    scales = (scales / total.masked_fill(total == 0, 1.0)[:, None])[..., None]
    with torch.autocast(points.device.type, enabled=False):
        weighted = scales * labels
        return points.mT @ (scales * points), points.mT @ weighted, labels.mT @ weighted, total


def _regularised(gram: Float[Tensor, "B M M"]) -> Float[Tensor, "B M M"]:
    """Add a small ridge to make the matrix invertible; a zero matrix becomes the identity."""
    trace = gram.detach().diagonal(dim1=-2, dim2=-1).sum(-1)
    ridge = (trace * torch.finfo(gram.dtype).eps).masked_fill(trace == 0, 1.0)
    return gram + torch.diag_embed(ridge[:, None].expand(gram.shape[:-1]))
