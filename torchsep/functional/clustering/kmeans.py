"""Clusters of points: k-means, and its soft form that can be a layer of a network."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.checks import check_integer, check_number
from torchsep.functional.clustering._kmeans_ops import fit_kmeans, fit_minibatch_kmeans

__all__ = ["KMeans", "kmeans", "minibatch_kmeans", "soft_assignment", "soft_kmeans"]


class KMeans(NamedTuple):
    """Clusters of points.

    Args:
        centres: the weighted mean of the points of each cluster, ``(…, K, D)``.
        labels: the cluster of each point, ``(…, P)``.
        inertia: the weighted sum of the squared distances of the points to the centre of their cluster, ``(…)``.
    """

    centres: Float[Tensor, "*any K D"]
    labels: Int[Tensor, "*any P"]
    inertia: Float[Tensor, "*any"]


def kmeans(  # noqa: PLR0913
    points: Float[Tensor, "*any P D"],
    n_clusters: int,
    *,
    weights: Float[Tensor, "*any P"] | None = None,
    init: Float[Tensor, "*any K D"] | None = None,
    max_iter: int = 300,
    tol: float = 1e-4,
    n_init: int = 1,
    seed: int = 0,
) -> KMeans:
    r"""The clusters of points that k-means finds: those of small inertia.

    Points are given to the nearest centre and centres moved to the mean of their points, in turn, until an item's
    centres rest; the first centres are points drawn far apart (k-means++), or of many points the centres of a sample
    that stands for all (a coreset). Each item is fitted alone.

    A cluster that loses all its points is moved to the point that adds most to the inertia. Where there are fewer
    different points than clusters, the clusters left over have no point and their centre is that of some point. An
    item in which all weights are zero is fitted as if all were one; one that is not finite gives NaN.

    Args:
        points: of each item.
        n_clusters: how many clusters, :math:`K`.
        weights: not negative, of each point. A point of weight zero gets a label, and has no other part.
        init: initial centres, instead of k-means++.
        max_iter: the most iterations over all points.
        tol: an item is done when the squared movement of its centres falls to this share of the mean variance of its
            features.
        n_init: of how many fits from different starts to keep that of least inertia.
        seed: of the draws.

    Raises:
        ValueError: if an argument is out of bounds or shapes do not agree.

    Gradient:
        That of the centres and the inertia with the labels held, exact for points and weights; none for the init, nor
        for a point of weight zero.

    Example:
        >>> points = torch.tensor([[0.0, 0.0], [0.0, 1.0], [5.0, 5.0], [5.0, 7.0]])
        >>> centres, labels, inertia = kmeans(points, 2)
        >>> centres[labels]
        tensor([[0.0000, 0.5000],
                [0.0000, 0.5000],
                [5.0000, 6.0000],
                [5.0000, 6.0000]])
        >>> inertia
        tensor(2.5000)

    References:
        Stuart P. Lloyd: "Least squares quantization in PCM", IEEE Transactions on Information Theory, 1982.
        David Arthur, Sergei Vassilvitskii: "k-means++: the advantages of careful seeding", SODA 2007.
        Olivier Bachem, Mario Lucic, Andreas Krause: "Scalable k-means clustering via lightweight coresets", KDD 2018.
    """
    _check(points, n_clusters, weights, init)
    for value, name in ((max_iter, "max_iter"), (n_init, "n_init")):
        check_integer(value, name, at_least=1)
    check_number(tol, "tol", at_least=0.0)
    flat = _flat(points, weights, init)
    centres, labels, inertia, _ = fit_kmeans(*flat, n_clusters, max_iter, float(tol), n_init, seed)
    return _in_shape(points, centres, labels, inertia)


def minibatch_kmeans(  # noqa: PLR0913
    points: Float[Tensor, "*any P D"],
    n_clusters: int,
    *,
    weights: Float[Tensor, "*any P"] | None = None,
    init: Float[Tensor, "*any K D"] | None = None,
    batch_size: int = 1024,
    max_iter: int = 100,
    tol: float = 1e-4,
    n_init: int = 1,
    seed: int = 0,
) -> KMeans:
    """The clusters of points, found from small samples of them.

    Each iteration looks at a few points, drawn in proportion to their weights, and moves each centre to the mean of
    all that it was given so far. One step over all points ends the fit. For many points this is faster than
    :func:`kmeans`, and its inertia a little larger.

    Args:
        points: as for :func:`kmeans`.
        n_clusters: as for :func:`kmeans`.
        weights: as for :func:`kmeans`.
        init: as for :func:`kmeans`.
        batch_size: how many points each iteration looks at.
        max_iter: the most iterations.
        tol: as for :func:`kmeans`.
        n_init: as for :func:`kmeans`.
        seed: of all draws.

    Raises:
        ValueError: if an argument is out of bounds or shapes do not agree.

    Gradient:
        As for :func:`kmeans`.

    Example:
        >>> points = torch.cat((torch.linspace(0, 1, 5000), torch.linspace(5, 7, 5000)))[:, None]
        >>> minibatch_kmeans(points, 2).centres.sort(0).values
        tensor([[0.5000],
                [6.0000]])

    References:
        David Sculley: "Web-scale k-means clustering", WWW 2010.
    """
    _check(points, n_clusters, weights, init)
    for value, name in ((batch_size, "batch_size"), (max_iter, "max_iter"), (n_init, "n_init")):
        check_integer(value, name, at_least=1)
    check_number(tol, "tol", at_least=0.0)
    flat = _flat(points, weights, init)
    centres, labels, inertia, _ = fit_minibatch_kmeans(
        *flat, n_clusters, batch_size, max_iter, float(tol), n_init, seed
    )
    return _in_shape(points, centres, labels, inertia)


def soft_assignment(
    points: Float[Tensor, "*any P D"], centres: Float[Tensor, "*any K D"], beta: float | Tensor
) -> Float[Tensor, "*any P K"]:
    r"""The share of each cluster in each point, :math:`e^{-\beta d_k} / \sum_j e^{-\beta d_j}`.

    Args:
        points: of each item.
        centres: of each item.
        beta: how hard the shares are; :math:`d_k` is the distance, not squared, to the centre of cluster :math:`k`.

    Gradient:
        Exact; that of a distance of zero is zero.

    Example:
        >>> soft_assignment(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]]), beta=1.0)
        tensor([[0.8808, 0.1192],
                [0.5000, 0.5000]])
    """
    # By differences: as a product of matrices it would be wrong for points far from the origin or near a centre.
    distance = torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist")
    return torch.softmax(-beta * distance, -1)


def soft_kmeans(
    points: Float[Tensor, "*any P D"],
    centres: Float[Tensor, "*any K D"],
    num_iterations: int,
    beta: float | Tensor,
    weights: Float[Tensor, "*any P"] | None = None,
) -> Float[Tensor, "*any K D"]:
    """Centres after some iterations in which each is the mean of all points, by its share in them.

    Args:
        points: of each item.
        centres: to begin with.
        num_iterations: how many.
        beta: as for :func:`soft_assignment`.
        weights: not negative, of each point.

    Gradient:
        Exact, through all iterations. The shares of each iteration are kept for backward.

    Example:
        >>> points = torch.tensor([[0.0], [1.0], [8.0], [9.0]])
        >>> soft_kmeans(points, torch.tensor([[0.0], [5.0]]), num_iterations=3, beta=2.0).round(decimals=2)
        tensor([[0.5000],
                [8.5000]])
    """
    check_integer(num_iterations, "num_iterations", at_least=0)
    for _ in range(num_iterations):
        share = soft_assignment(points, centres, beta)
        if weights is not None:
            share = share * weights[..., None]
        total = share.sum(-2)[..., None]
        moved = share.mT @ points / total.masked_fill(total == 0, 1.0)
        centres = torch.where(total == 0, centres, moved)
    return centres


def _check(points: Tensor, n_clusters: int, weights: Tensor | None, init: Tensor | None) -> None:
    check_integer(n_clusters, "n_clusters", at_least=1)
    shape = tuple(points.shape)
    if points.dim() < 2 or not points.numel() or not points.is_floating_point():
        raise ValueError(f"points must be floating point of shape (…, P, D), got {points.dtype} {shape}")
    if weights is not None and weights.shape != points.shape[:-1]:
        raise ValueError(f"weights must have shape {shape[:-1]}, got {tuple(weights.shape)}")
    wanted = (*shape[:-2], n_clusters, shape[-1])
    if init is not None and init.shape != wanted:
        raise ValueError(f"init must have shape {wanted}, got {tuple(init.shape)}")


def _flat(points: Tensor, weights: Tensor | None, init: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """One leading axis for all."""
    count, features = points.shape[-2:]
    if weights is not None:
        weights = weights.to(points.dtype).reshape(-1, count)
    if init is not None:
        init = init.detach().to(points.dtype).reshape(-1, init.shape[-2], features)
    return points.reshape(-1, count, features), weights, init


def _in_shape(points: Tensor, centres: Tensor, labels: Tensor, inertia: Tensor) -> KMeans:
    outer = points.shape[:-2]
    centres = centres.reshape(*outer, *centres.shape[1:])
    return KMeans(centres, labels.reshape(points.shape[:-1]), inertia.reshape(outer))
