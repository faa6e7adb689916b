"""k-means, mini-batch k-means and differentiable soft k-means."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.checks import check_integer, check_number
from torchsep.functional.clustering._kmeans_ops import fit_kmeans, fit_minibatch_kmeans

__all__ = ["KMeans", "kmeans", "minibatch_kmeans", "soft_assignment", "soft_kmeans"]


class KMeans(NamedTuple):
    """The result of k-means.

    Args:
        centres: weighted mean of the points of each cluster, ``(…, K, D)``.
        labels: cluster index of each point, ``(…, P)``.
        inertia: weighted sum of the squared distances of points to the centre of their cluster, ``(…)``.
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
    r"""k-means clustering by Lloyd's algorithm.

    Initial centres are chosen by k-means++, or for many points by k-means on a coreset. Items are fitted independently.

    An empty cluster is moved to the point that contributes most to the inertia. With fewer distinct points than
    clusters, some clusters remain empty, with a point as their centre. If all weights of an item are zero, they are
    treated as one. Items that are not finite return NaN.

    Args:
        points: points of each item.
        n_clusters: number :math:`K` of clusters.
        weights: non-negative weight of each point. Points of weight zero are labelled, but otherwise ignored.
        init: initial centres, instead of k-means++.
        max_iter: maximum number of iterations over all points.
        tol: an item has converged when the squared movement of its centres, relative to the mean variance of its
            features, is at most this.
        n_init: number of fits with different initial centres, of which the one with the lowest inertia is returned.
        seed: seed of the initial centres.

    Raises:
        ValueError: if an argument is out of bounds or shapes do not match.

    Gradient:
        Exact for points and weights of centres and inertia with the labels fixed; none for init, nor for points of
        weight zero.

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
    """Mini-batch k-means clustering.

    Each iteration assigns a batch of points, drawn in proportion to their weights, and moves each centre to the mean of
    all points that were assigned to it so far. A last step uses all points. For many points this is faster than
    :func:`kmeans`, with a slightly larger inertia.

    Args:
        points: as for :func:`kmeans`.
        n_clusters: as for :func:`kmeans`.
        weights: as for :func:`kmeans`.
        init: as for :func:`kmeans`.
        batch_size: number of points per iteration.
        max_iter: maximum number of iterations.
        tol: as for :func:`kmeans`.
        n_init: as for :func:`kmeans`.
        seed: seed of the initial centres and batches.

    Raises:
        ValueError: if an argument is out of bounds or shapes do not match.

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
    r"""The soft assignment of points to clusters, :math:`e^{-\beta d_k} / \sum_j e^{-\beta d_j}`.

    Args:
        points: points of each item.
        centres: centres of each item.
        beta: inverse temperature; :math:`d_k` is the Euclidean distance, not squared, to centre :math:`k`.

    Gradient:
        Exact; zero for a distance of zero.

    Example:
        >>> soft_assignment(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]]), beta=1.0)
        tensor([[0.8808, 0.1192],
                [0.5000, 0.5000]])
    """
    # Matrix products would be inaccurate for points far from the origin or close to a centre.
    distance = torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist")
    return torch.softmax(-beta * distance, -1)


def soft_kmeans(
    points: Float[Tensor, "*any P D"],
    centres: Float[Tensor, "*any K D"],
    num_iterations: int,
    beta: float | Tensor,
    weights: Float[Tensor, "*any P"] | None = None,
) -> Float[Tensor, "*any K D"]:
    """Centres after a number of soft k-means iterations, each the mean of all points weighted by soft assignments.

    Args:
        points: points of each item.
        centres: initial centres.
        num_iterations: number of iterations.
        beta: as for :func:`soft_assignment`.
        weights: non-negative weight of each point.

    Gradient:
        Exact, through all iterations. The assignments of each iteration are saved for backward.

    Example:
        >>> points = torch.tensor([[0.0], [1.0], [8.0], [9.0]])
        >>> soft_kmeans(points, torch.tensor([[0.0], [5.0]]), num_iterations=3, beta=2.0).round(decimals=2)
        tensor([[0.5000],
                [8.5000]])
    """
    check_integer(num_iterations, "num_iterations", at_least=0)
    for _ in range(num_iterations):
        assignment = soft_assignment(points, centres, beta)
        if weights is not None:
            assignment = assignment * weights[..., None]
        total = assignment.sum(-2)[..., None]
        moved = assignment.mT @ points / total.masked_fill(total == 0, 1.0)
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
    """The arguments with a single leading axis."""
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
