r"""How clearly points fall into clusters: measures that need no truth.

Each takes points ``(..., P, D)``, their shares in the clusters ``(..., P, K)``, rows that sum to one, and weights
``(..., P)``, for bins of a spectrogram their power; points without weight do not count. Each gives ``(...)``, larger
for clearer clusters, at most one.
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
Shares = Float[Tensor, "*any P K"]
Weights = Float[Tensor, "*any P"]
Confidence = Float[Tensor, "*any"]

# Points whose distances to one another are computed, and points drawn from each of two distributions.
_COMPARED = 1000
_DRAWN = 1000


def silhouette_confidence(points: Points, shares: Shares, weights: Weights) -> Confidence:
    r"""The mean silhouette: by how much points are nearer to their own cluster than to the next.

    .. math::
        \frac{1}{P} \sum_p \frac{b_p - a_p}{\max(a_p, b_p)}

    with :math:`a_p` the mean distance to the other points of the cluster, and :math:`b_p` that to the points of the
    nearest other one. Of many points, a thousand evenly spaced ones are compared.

    Example:
        >>> points = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
        >>> shares = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> silhouette_confidence(points, shares, torch.ones(4))
        tensor(0.8997)

    References:
        P. Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis", Journal
        of Computational and Applied Mathematics, 1987.
    """
    step = math.ceil(points.shape[-2] / _COMPARED)
    points, shares, weights = points[..., ::step, :], shares[..., ::step, :], weights[..., ::step]
    counted = (weights > 0).to(points.dtype)
    members = _owners(shares) * counted[..., None]
    offsets = points - points.mean(-2, keepdim=True)
    to_clusters = torch.cdist(offsets, offsets, compute_mode="donot_use_mm_for_euclid_dist") @ members
    sizes = members.sum(-2, keepdim=True)
    own = (to_clusters * members).sum(-1) / ((sizes * members).sum(-1) - 1).clamp(min=1)
    others = (to_clusters / sizes).masked_fill((members > 0) | (sizes == 0), math.inf)
    nearest = others.amin(-1)
    alone = (sizes * members).sum(-1) <= 1
    silhouette = (nearest - own) / torch.maximum(nearest, own)
    silhouette = silhouette.masked_fill(alone | nearest.isinf() | (torch.maximum(nearest, own) == 0), 0.0)
    return _mean(silhouette, counted)


def posterior_confidence(points: Points, shares: Shares, weights: Weights) -> Confidence:  # noqa: ARG001
    r"""How certain the cluster of a point is: the mean of :math:`(K \max_k \gamma_{pk} - 1) / (K - 1)`.

    Example:
        >>> posterior_confidence(torch.zeros(2, 1), torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.ones(2))
        tensor(0.5000)
    """
    return _mean(_certainty(shares), (weights > 0).to(shares.dtype))


def loudness_confidence(points: Points, shares: Shares, weights: Weights) -> Confidence:  # noqa: ARG001
    r"""How much of the power the weakest cluster has, counted by how certainly it is its own, times K.

    One if all clusters are equally loud and no point is in doubt; zero if a cluster is empty, as where there are fewer
    sources than clusters.

    Example:
        >>> shares = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> loudness_confidence(torch.zeros(3, 1), shares, torch.tensor([2.0, 1.0, 1.0]))
        tensor(0.5000)
    """
    total = weights.sum(-1)
    certain = (weights * _certainty(shares))[..., None] * _owners(shares)
    weakest = certain.sum(-2).amin(-1)
    return shares.shape[-1] * weakest / total.masked_fill(total == 0, 1.0)


def dpcl_classic_confidence(points: Points, shares: Shares, weights: Weights) -> Confidence:
    r"""How well the clusters explain which points are alike: the deep clustering objective, as a share.

    .. math::
        1 - \frac{\lVert V V^\top - Y Y^\top \rVert^2}{\lVert V V^\top \rVert^2 + \lVert Y Y^\top \rVert^2}

    of points of unit length in the rows of :math:`V`, and their clusters, one-hot, in the rows of :math:`Y`.

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
    owners = _owners(shares) * counted
    alike, agreed, together = (
        (one.mT @ other).square().sum((-2, -1)) for one, other in ((units, units), (units, owners), (owners, owners))
    )
    total = alike + together
    return 2 * agreed / total.masked_fill(total == 0, 1.0)


def whitened_kmeans_confidence(points: Points, shares: Shares, weights: Weights) -> Confidence:
    r"""How much of the points, whitened, the clusters' centres explain: the whitened k-means objective, as a share.

    .. math::
        \frac{1}{\min(D, K)} \operatorname{tr}\left(
        (V^\top V)^{-1} V^\top Y (Y^\top Y)^{-1} Y^\top V \right)

    of points in the rows of :math:`V`, and their clusters, one-hot, in the rows of :math:`Y`.

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
    owners = (_owners(shares) * counted).double()
    size = points.shape[-1]
    gram = values.mT @ values
    # The directions in which there is nothing are left out by a ridge far below the others.
    ridge = gram.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] * 1e-9
    ridge = ridge.masked_fill(ridge == 0, 1.0)
    cross = owners.mT @ values
    members = owners.sum(-2)[..., None]
    means = cross / members.masked_fill(members == 0, 1.0)
    solved, _ = torch.linalg.solve_ex(gram + ridge * torch.eye(size, dtype=gram.dtype, device=gram.device), cross.mT)
    explained = (solved.mT * means).sum((-2, -1)) / min(size, shares.shape[-1])
    return explained.to(points.dtype)


def jensen_shannon_confidence(points: Points, shares: Shares, weights: Weights) -> Confidence:
    r"""How far a mixture of K Gaussians, fitted to the points, is from a single Gaussian fitted to them.

    That is their Jensen-Shannon divergence as a share of its maximum, :math:`\log 2`, estimated from a thousand points
    drawn from each.

    References:
        P. Seetharaman, G. Wichern, J. Le Roux and B. Pardo, "Bootstrapping single-channel source separation via
        unsupervised spatial clustering on stereo mixtures", ICASSP, 2019.
    """
    counted = (weights > 0).to(points.dtype)
    several = fit_gaussian_mixture(points, shares.shape[-1], weights=counted)
    single = fit_gaussian_mixture(points, 1, weights=counted)
    divergence = points.new_zeros(points.shape[:-2])
    for drawn_from, other, seed in ((several, single, 0), (single, several, 1)):
        drawn = _drawn(drawn_from, seed)
        # The log of the ratio of a density to the mean of both; what is far below the other counts as zero.
        ratio = log_likelihood(drawn, other) - log_likelihood(drawn, drawn_from)
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


def _owners(shares: Shares) -> Shares:
    """One for the cluster that a point is most in, zero for the others."""
    return torch.nn.functional.one_hot(shares.argmax(-1), shares.shape[-1]).to(shares.dtype)


def _certainty(shares: Shares) -> Weights:
    """Zero where all clusters share a point equally, one where it is in one of them."""
    count = shares.shape[-1]
    return (count * shares.amax(-1) - 1) / (count - 1)


def _mean(values: Weights, counted: Weights) -> Confidence:
    total = counted.sum(-1)
    return (values * counted).sum(-1) / total.masked_fill(total == 0, 1.0)


def _drawn(mixture: GaussianMixture, seed: int) -> Points:
    """Points from a mixture with full covariances: of each component in turn as many as its weight says."""
    means = mixture.means
    *outer, count, size = means.shape
    # The same random numbers for every item, so that items do not depend on their place in a batch.
    even = (torch.arange(_DRAWN, dtype=means.dtype, device=means.device) + 0.5) / _DRAWN
    edges = mixture.log_weights.exp().cumsum(-1)[..., None, :]
    component = (even[:, None] > edges).sum(-1).clamp(max=count - 1)
    # Box and Muller's way from uniform to normal numbers.
    radius, angle = hashed_uniform((2, _DRAWN, size), seed, means.device).to(means.dtype)
    normal = (-2 * (1 - radius).log()).sqrt() * (2 * math.pi * angle).cos()
    factors, _ = torch.linalg.cholesky_ex(mixture.covariances)
    which = component[..., None, None].expand(*outer, _DRAWN, size, size)
    spread = factors.gather(-3, which) @ normal[..., None]
    return means.gather(-2, component[..., None].expand(*outer, _DRAWN, size)) + spread[..., 0]
