"""Gaussian mixtures, fitted by EM."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_choice, check_integer, check_number
from torchsep.functional._chunks import map_frames
from torchsep.functional.clustering._em import log_joint
from torchsep.functional.clustering._em_ops import fit_mixture

__all__ = ["COVARIANCE_TYPES", "GaussianMixture", "fit_gaussian_mixture", "log_likelihood", "responsibilities"]

COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")


class GaussianMixture(NamedTuple):
    """A Gaussian mixture for each item.

    Args:
        log_weights: logarithms of the component weights, ``(…, K)``.
        means: component means, ``(…, K, D)``.
        covariances: ``(…, K, D, D)`` if full; one for all components, ``(…, D, D)``, if tied; variances of the
            features, ``(…, K, D)``, if diag; one variance per component, ``(…, K)``, if spherical.
        covariance_type: ``full``, ``tied``, ``diag`` or ``spherical``.
    """

    log_weights: Float[Tensor, "*any K"]
    means: Float[Tensor, "*any K D"]
    covariances: Tensor
    covariance_type: str


def fit_gaussian_mixture(  # noqa: PLR0913
    points: Float[Tensor, "*any P D"],
    n_components: int,
    *,
    covariance_type: str = "full",
    weights: Float[Tensor, "*any P"] | None = None,
    init: GaussianMixture | None = None,
    max_iter: int = 100,
    tol: float = 1e-3,
    n_init: int = 1,
    seed: int = 0,
    reg_covar: float = 1e-6,
) -> GaussianMixture:
    """The maximum likelihood Gaussian mixture of the points of each item, by EM.

    EM is initialised by k-means, and stops when the mean log-likelihood of an item converges. It is preferable to
    k-means for clusters of different sizes and shapes. Items are fitted independently.

    An item whose points are all equal is fitted as if its variance were one. Items that are not finite return NaN.

    Args:
        points: points of each item.
        n_components: number of components.
        covariance_type: full, tied (one for all components), diag or spherical.
        weights: non-negative weight of each point. Points of weight zero are ignored.
        init: initial mixture of the same covariance type, instead of k-means.
        max_iter: maximum number of iterations.
        tol: an item has converged when its mean log-likelihood changes by less than this.
        n_init: number of fits with different initial clusters, of which the likeliest is returned.
        seed: seed of k-means.
        reg_covar: added to variances, relative to the mean variance of the features of the item.

    Raises:
        ValueError: if an argument is out of bounds or shapes do not match.

    Gradient:
        Exact for points, weights and init, through all iterations, with their number and the labels of k-means fixed;
        none for points of weight zero. Iterations are recomputed in backward, and nothing of them is saved.

    Example:
        >>> points = torch.tensor([[0.0], [1.0], [10.0], [12.0], [14.0], [12.0]])
        >>> mixture = fit_gaussian_mixture(points, 2)
        >>> order = mixture.means[:, 0].argsort()
        >>> mixture.means[order].round(decimals=2)
        tensor([[ 0.5000],
                [12.0000]])
        >>> mixture.log_weights[order].exp().round(decimals=2)
        tensor([0.3300, 0.6700])

    References:
        Arthur P. Dempster, Nan M. Laird, Donald B. Rubin: "Maximum likelihood from incomplete data via the EM
        algorithm", Journal of the Royal Statistical Society B, 1977.
    """
    check_integer(n_components, "n_components", at_least=1)
    check_choice(covariance_type, COVARIANCE_TYPES, "covariance_type")
    for value, name in ((max_iter, "max_iter"), (n_init, "n_init")):
        check_integer(value, name, at_least=1)
    check_number(tol, "tol", at_least=0.0)
    check_number(reg_covar, "reg_covar", above=0.0)
    shape = tuple(points.shape)
    if points.dim() < 2 or not points.numel() or not points.is_floating_point():
        raise ValueError(f"points must be floating point of shape (…, P, D), got {points.dtype} {shape}")
    if weights is not None and weights.shape != points.shape[:-1]:
        raise ValueError(f"weights must have shape {shape[:-1]}, got {tuple(weights.shape)}")
    if init is not None:
        _check_init(init, (*shape[:-2], n_components, shape[-1]), covariance_type)
    count, features = points.shape[-2:]
    data, mean, scale, broken = _normalised(
        points.reshape(-1, count, features), None if weights is None else weights.to(points).reshape(-1, count)
    )
    floor = (data[0].square() * data[1][:, None]).sum((1, 2)) / (features * data[1].sum(-1))
    floor = reg_covar * torch.where(floor > 0, floor, 1.0)
    initial: tuple[Tensor | None, Tensor | None, Tensor | None] = None, None, None
    if init is not None:
        log_weights, means, covariances = (
            tensor.to(points).reshape(len(mean), *tensor.shape[points.dim() - 2 :]) for tensor in init[:3]
        )
        unit = scale.view(-1, *[1] * (covariances.dim() - 1))
        initial = log_weights, (means - mean[:, None]) / scale[:, None, None], covariances / unit.square()
    log_weights, means, covariances, *_ = fit_mixture(
        *data, floor, *initial, n_components, covariance_type, max_iter, float(tol), n_init, seed
    )
    unit = scale.view(-1, *[1] * (covariances.dim() - 1))
    found = log_weights, means * scale[:, None, None] + mean[:, None], covariances * unit.square()
    outer = points.shape[:-2]
    log_weights, means, covariances = (
        tensor.masked_fill(broken.view(-1, *[1] * (tensor.dim() - 1)), torch.nan).reshape(*outer, *tensor.shape[1:])
        for tensor in found
    )
    return GaussianMixture(log_weights, means, covariances, covariance_type)


def log_likelihood(points: Float[Tensor, "*any P D"], mixture: GaussianMixture) -> Float[Tensor, "*any P"]:
    """The log-density of a mixture at each point.

    Args:
        points: points of each item.
        mixture: mixture of each item.

    Gradient:
        Exact.

    Example:
        >>> mixture = GaussianMixture(torch.zeros(1), torch.zeros(1, 2), torch.ones(1), "spherical")
        >>> log_likelihood(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), mixture)
        tensor([-1.8379, -2.8379])
    """
    return map_frames(
        lambda part: torch.logsumexp(log_joint(part, mixture[:3], mixture.covariance_type), -2, keepdim=True), points.mT
    )[..., 0, :]


def responsibilities(points: Float[Tensor, "*any P D"], mixture: GaussianMixture) -> Float[Tensor, "*any P K"]:
    """The posterior probability of each component at each point.

    Args:
        points: points of each item.
        mixture: mixture of each item.

    Gradient:
        Exact.

    Example:
        >>> weights, means = torch.tensor([0.5, 0.5]).log(), torch.tensor([[0.0], [2.0]])
        >>> mixture = GaussianMixture(weights, means, torch.ones(2), "spherical")
        >>> responsibilities(torch.tensor([[1.0], [2.0]]), mixture)
        tensor([[0.5000, 0.5000],
                [0.1192, 0.8808]])
    """
    return map_frames(
        lambda part: torch.softmax(log_joint(part, mixture[:3], mixture.covariance_type), -2), points.mT
    ).mT


def _check_init(init: GaussianMixture, shape: tuple[int, ...], covariance_type: str) -> None:
    if init.covariance_type != covariance_type:
        raise ValueError(f"init must have covariance type {covariance_type}, got {init.covariance_type}")
    covariances = {
        "full": (*shape, shape[-1]),
        "tied": (*shape[:-2], shape[-1], shape[-1]),
        "diag": shape,
        "spherical": shape[:-1],
    }
    wanted = (shape[:-1], shape, covariances[covariance_type])
    got = tuple(tuple(tensor.shape) for tensor in init[:3])
    if got != wanted:
        raise ValueError(f"init must have tensors of shapes {wanted}, got {got}")


def _normalised(points: Tensor, weights: Tensor | None) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor, Tensor]:
    """Points ``(B, D, P)`` with zero mean and unit variance, weights with mean one; and mean, scale and broken items.

    Mean and scale are treated as constant, as the fit is equivariant to them.
    """
    weight = torch.ones_like(points[..., 0])
    if weights is not None:
        empty = weights.detach().sum(-1, keepdim=True) == 0
        weight = torch.where(empty, 1.0, weights)
        weight = torch.where(weight == 0, 0.0, weight)  # blocks the gradient
        points = torch.where((weight == 0)[..., None], 0.0, points)
    weight = weight / weight.detach().mean(-1, keepdim=True)
    with torch.no_grad():
        broken = ~((points.abs().amax((1, 2)) < torch.inf) & weight.isfinite().all(-1))
    weight = weight.masked_fill(broken[:, None], 1.0)
    points = points.masked_fill(broken[:, None, None], 0.0)
    with torch.no_grad():
        normalised = weight / weight.sum(-1, keepdim=True)
        mean = (normalised[:, None] @ points)[:, 0]
        centred = (points - mean[:, None]).mul_(normalised[..., None] > 0)
        largest = centred.abs().amax((1, 2))
        largest = largest.masked_fill(largest == 0, 1.0)
        square = ((centred / largest[:, None, None]).square_().mean(-1) * normalised).sum(-1)
        scale = largest * square.masked_fill(square == 0, 1.0).sqrt()
    normal = ((points - mean[:, None]) / scale[:, None, None]).mT
    if weights is not None:
        normal = normal.masked_fill((weight == 0)[:, None], 0.0)
    return (normal, weight), mean, scale, broken
