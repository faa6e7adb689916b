r"""Confidence measures: how well points are clustered, without ground truth.

The arguments are points ``(..., P, D)``, posteriors of the clusters ``(..., P, K)``, and weights ``(..., P)``, for
spectrograms the power of each bin; points of weight zero are ignored. The results ``(...)`` are at most one, and larger
for clearer clusters.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional.clustering.gaussian_mixture import GaussianMixture, fit_gaussian_mixture, log_likelihood
from torchsep.functional.hashing import hashed_uniform

__all__ = [
    "CONFIDENCES",
    "dpcl_classic_confidence",
    "jensen_shannon_confidence",
    "loudness_confidence",
    "posterior_confidence",
    "silhouette_confidence",
    "whitened_kmeans_confidence",
]

Points = Float[Tensor, "*any P D"]
Posteriors = Float[Tensor, "*any P K"]
Weights = Float[Tensor, "*any P"]
Confidence = Float[Tensor, "*any"]

# Maximum number of points with pairwise distances, and number of samples from each distribution.
_MAX_POINTS = 1000
_NUM_SAMPLES = 1000


def silhouette_confidence(points: Points, posteriors: Posteriors, weights: Weights) -> Confidence:
    r"""The mean silhouette: how much closer points are to their own cluster than to the nearest other one.

    .. math::
        \frac{1}{P} \sum_p \frac{b_p - a_p}{\max(a_p, b_p)}

    with :math:`a_p` the mean distance to the other points of the cluster, and :math:`b_p` the mean distance to the
    points of the nearest other cluster. At most a thousand evenly spaced points are used.

    Args:
        points: points, for example the features of time-frequency bins.
        posteriors: posterior probabilities of the clusters for each point.
        weights: non-negative weights of the points.

    Example:
        >>> points = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
        >>> posteriors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> silhouette_confidence(points, posteriors, torch.ones(4))
        tensor(0.8997)

    References:
        P. Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis", Journal
        of Computational and Applied Mathematics, 1987.
    """
    step = math.ceil(points.shape[-2] / _MAX_POINTS)
    points, posteriors, weights = points[..., ::step, :], posteriors[..., ::step, :], weights[..., ::step]
    counted = (weights > 0).to(points.dtype)
    members = _assignments(posteriors) * counted[..., None]
    offsets = points - points.mean(-2, keepdim=True)
    to_clusters = torch.cdist(offsets, offsets, compute_mode="donot_use_mm_for_euclid_dist") @ members
    sizes = members.sum(-2, keepdim=True)
    own = (to_clusters * members).sum(-1) / ((sizes * members).sum(-1) - 1).clamp(min=1)
    others = (to_clusters / sizes).masked_fill((members > 0) | (sizes == 0), math.inf)
    nearest = others.amin(-1)
    singleton = (sizes * members).sum(-1) <= 1
    silhouette = (nearest - own) / torch.maximum(nearest, own)
    silhouette = silhouette.masked_fill(singleton | nearest.isinf() | (torch.maximum(nearest, own) == 0), 0.0)
    return _mean(silhouette, counted)


def posterior_confidence(points: Points, posteriors: Posteriors, weights: Weights) -> Confidence:  # noqa: ARG001
    r"""The mean normalised maximum posterior, :math:`(K \max_k \gamma_{pk} - 1) / (K - 1)`.

    Args:
        points: points, for example the features of time-frequency bins.
        posteriors: posterior probabilities of the clusters for each point.
        weights: non-negative weights of the points.

    Example:
        >>> posterior_confidence(torch.zeros(2, 1), torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.ones(2))
        tensor(0.5000)
    """
    return _mean(_certainty(posteriors), (weights > 0).to(posteriors.dtype))


def loudness_confidence(points: Points, posteriors: Posteriors, weights: Weights) -> Confidence:  # noqa: ARG001
    r"""The fraction of the power in the weakest cluster, weighted by normalised maximum posteriors, times K.

    It is one if all clusters have equal power and the posteriors are binary, and zero if a cluster is empty, for
    example with fewer sources than clusters.

    Args:
        points: points, for example the features of time-frequency bins.
        posteriors: posterior probabilities of the clusters for each point.
        weights: non-negative weights of the points.

    Example:
        >>> posteriors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> loudness_confidence(torch.zeros(3, 1), posteriors, torch.tensor([2.0, 1.0, 1.0]))
        tensor(0.5000)
    """
    total = weights.sum(-1)
    certain = (weights * _certainty(posteriors))[..., None] * _assignments(posteriors)
    weakest = certain.sum(-2).amin(-1)
    return posteriors.shape[-1] * weakest / total.masked_fill(total == 0, 1.0)


def dpcl_classic_confidence(points: Points, posteriors: Posteriors, weights: Weights) -> Confidence:
    r"""The normalised deep clustering objective: agreement of cluster memberships and affinities of the points.

    .. math::
        1 - \frac{\lVert V V^\top - Y Y^\top \rVert^2}{\lVert V V^\top \rVert^2 + \lVert Y Y^\top \rVert^2}

    with unit-length points in the rows of :math:`V`, and their one-hot clusters in the rows of :math:`Y`.

    Args:
        points: points, for example the features of time-frequency bins.
        posteriors: posterior probabilities of the clusters for each point.
        weights: non-negative weights of the points.

    Example:
        >>> points = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> dpcl_classic_confidence(points, torch.eye(2)[[0, 0, 1]], torch.ones(3))
        tensor(1.)

    References:
        J. Hershey et al., "Deep clustering: discriminative embeddings for segmentation and separation", ICASSP, 2016.
    """
    counted = (weights > 0).to(points.dtype)[..., None]
    length = torch.linalg.vector_norm(points, dim=-1, keepdim=True)
    units = points / length.masked_fill(length == 0, 1.0) * counted
    assignments = _assignments(posteriors) * counted
    affinities, agreement, memberships = (
        (one.mT @ other).square().sum((-2, -1))
        for one, other in ((units, units), (units, assignments), (assignments, assignments))
    )
    total = affinities + memberships
    return 2 * agreement / total.masked_fill(total == 0, 1.0)


def whitened_kmeans_confidence(points: Points, posteriors: Posteriors, weights: Weights) -> Confidence:
    r"""The normalised whitened k-means objective: the variance of whitened points explained by the cluster centres.

    .. math::
        \frac{1}{\min(D, K)} \operatorname{tr}\left(
        (V^\top V)^{-1} V^\top Y (Y^\top Y)^{-1} Y^\top V \right)

    with points in the rows of :math:`V`, and their one-hot clusters in the rows of :math:`Y`.

    Args:
        points: points, for example the features of time-frequency bins.
        posteriors: posterior probabilities of the clusters for each point.
        weights: non-negative weights of the points.

    Example:
        >>> points = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
        >>> whitened_kmeans_confidence(points, torch.eye(2)[[0, 0, 1]], torch.ones(3)).round(decimals=4)
        tensor(1.)

    References:
        Z.-Q. Wang, J. Le Roux and J. Hershey, "Alternative objective functions for deep clustering", ICASSP, 2018.
    """
    counted = (weights > 0).to(points.dtype)[..., None]
    level = points.abs().amax((-2, -1), keepdim=True)
    values = (points / level.masked_fill(level == 0, 1.0) * counted).double()
    assignments = (_assignments(posteriors) * counted).double()
    size = points.shape[-1]
    gram = values.mT @ values
    # A small ridge suppresses directions without variance.
    ridge = gram.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] * 1e-9
    ridge = ridge.masked_fill(ridge == 0, 1.0)
    cross = assignments.mT @ values
    members = assignments.sum(-2)[..., None]
    means = cross / members.masked_fill(members == 0, 1.0)
    solved, _ = torch.linalg.solve_ex(gram + ridge * torch.eye(size, dtype=gram.dtype, device=gram.device), cross.mT)
    explained = (solved.mT * means).sum((-2, -1)) / min(size, posteriors.shape[-1])
    return explained.to(points.dtype)


def jensen_shannon_confidence(points: Points, posteriors: Posteriors, weights: Weights) -> Confidence:
    r"""The Jensen-Shannon divergence of a mixture of K Gaussians and a single Gaussian, both fitted to the points.

    It is normalised by its maximum :math:`\log 2`, and estimated from a thousand samples of each distribution.

    Args:
        points: points, for example the features of time-frequency bins.
        posteriors: posterior probabilities of the clusters for each point.
        weights: non-negative weights of the points.

    References:
        P. Seetharaman, G. Wichern, J. Le Roux and B. Pardo, "Bootstrapping single-channel source separation via
        unsupervised spatial clustering on stereo mixtures", ICASSP, 2019.
    """
    counted = (weights > 0).to(points.dtype)
    several = fit_gaussian_mixture(points, posteriors.shape[-1], weights=counted)
    single = fit_gaussian_mixture(points, 1, weights=counted)
    divergence = points.new_zeros(points.shape[:-2])
    for sampled, other, seed in ((several, single, 0), (single, several, 1)):
        samples = _samples(sampled, seed)
        # Logarithm of the ratio of a density to the mean of both.
        ratio = log_likelihood(samples, other) - log_likelihood(samples, sampled)
        divergence = divergence + 0.5 * (math.log(2.0) - torch.nn.functional.softplus(ratio)).mean(-1)
    silent = counted.sum(-1) == 0
    return (divergence / math.log(2.0)).clamp(0.0, 1.0).masked_fill(silent, 0.0)


CONFIDENCES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "silhouette": silhouette_confidence,
    "posterior": posterior_confidence,
    "loudness": loudness_confidence,
    "whitened_kmeans": whitened_kmeans_confidence,
    "dpcl_classic": dpcl_classic_confidence,
    "jensen_shannon": jensen_shannon_confidence,
}


def _assignments(posteriors: Posteriors) -> Posteriors:
    """The one-hot assigned cluster of each point."""
    return torch.nn.functional.one_hot(posteriors.argmax(-1), posteriors.shape[-1]).to(posteriors.dtype)


def _certainty(posteriors: Posteriors) -> Weights:
    """The normalised maximum posterior: zero for equal posteriors, one for binary ones."""
    count = posteriors.shape[-1]
    return (count * posteriors.amax(-1) - 1) / (count - 1)


def _mean(values: Weights, counted: Weights) -> Confidence:
    total = counted.sum(-1)
    return (values * counted).sum(-1) / total.masked_fill(total == 0, 1.0)


def _samples(mixture: GaussianMixture, seed: int) -> Points:
    """Samples of a mixture with full covariances, stratified by component."""
    means = mixture.means
    *outer, count, size = means.shape
    # The same random numbers for every item, independent of the batch position.
    even = (torch.arange(_NUM_SAMPLES, dtype=means.dtype, device=means.device) + 0.5) / _NUM_SAMPLES
    edges = mixture.log_weights.exp().cumsum(-1)[..., None, :]
    component = (even[:, None] > edges).sum(-1).clamp(max=count - 1)
    # Box-Muller transform.
    radius, angle = hashed_uniform((2, _NUM_SAMPLES, size), seed, means.device).to(means.dtype)
    normal = (-2 * (1 - radius).log()).sqrt() * (2 * math.pi * angle).cos()
    factors, _ = torch.linalg.cholesky_ex(mixture.covariances)
    which = component[..., None, None].expand(*outer, _NUM_SAMPLES, size, size)
    spread = factors.gather(-3, which) @ normal[..., None]
    return means.gather(-2, component[..., None].expand(*outer, _NUM_SAMPLES, size)) + spread[..., 0]
