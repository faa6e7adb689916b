"""Initial clusters of a separator: plain values, or the parameters of a fitted scikit-learn model."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch._subclasses.fake_tensor import unset_fake_temporarily

from torchsep.functional.clustering.gaussian_mixture import GaussianMixture

__all__ = ["centres_like", "mixture_like", "plain_clusters"]

Plain = list[Any] | dict[str, Any]

_FITTED = {"weights": "weights_", "means": "means_", "covariances": "covariances_"}


@unset_fake_temporarily()  # values are read
def plain_clusters(given: Any, n_clusters: int, covariance_type: str | None) -> Plain | None:
    """Clusters as JSON values: a list of centres, or a mapping of the parameters of a Gaussian mixture.

    Args:
        given: centres, a mapping, a fitted scikit-learn model, or None.
        n_clusters: required number of clusters.
        covariance_type: covariance type of the Gaussian mixture; None for centres.

    Raises:
        ValueError: if the clusters have a wrong type or number, or are not finite.

    Example:
        >>> plain_clusters(torch.eye(2), 2, None)
        [[1.0, 0.0], [0.0, 1.0]]
    """
    if given is None:
        return None
    if covariance_type is None:
        return _checked(getattr(given, "cluster_centers_", given), (n_clusters, None), "init").tolist()
    if not isinstance(given, Mapping):
        if not all(hasattr(given, name) for name in _FITTED.values()):
            raise ValueError(f"init must be a mapping of {', '.join(_FITTED)} or a fitted mixture, got {given!r}")
        if given.covariance_type != covariance_type:
            raise ValueError(f"init must have {covariance_type} covariances, got {given.covariance_type}")
        given = {name: getattr(given, attribute) for name, attribute in _FITTED.items()}
    if set(given) != set(_FITTED):
        raise ValueError(f"init must be a mapping of {', '.join(_FITTED)}, got {', '.join(map(str, given))}")
    means = _checked(given["means"], (n_clusters, None), "means of init")
    size = means.shape[1]
    shape = {
        "full": (n_clusters, size, size),
        "tied": (size, size),
        "diag": (n_clusters, size),
        "spherical": (n_clusters,),
    }
    weights = _checked(given["weights"], (n_clusters,), "weights of init")
    covariances = _checked(given["covariances"], shape[covariance_type], "covariances of init")
    return {"weights": weights.tolist(), "means": means.tolist(), "covariances": covariances.tolist()}


def centres_like(given: Plain | None, points: Float[Tensor, "B P D"]) -> Float[Tensor, "B K D"] | None:
    """The given centres for every item of a batch, with the number of features checked."""
    if given is None:
        return None
    centres = torch.tensor(given, dtype=points.dtype, device=points.device)
    _check_size(centres, points)
    return centres.expand(len(points), -1, -1)


def mixture_like(given: Any, points: Float[Tensor, "B P D"], covariance_type: str) -> GaussianMixture | None:
    """The given Gaussian mixture for every item of a batch, with the number of features checked."""
    if given is None:
        return None
    values = {name: torch.tensor(value, dtype=points.dtype, device=points.device) for name, value in given.items()}
    _check_size(values["means"], points)
    items = {name: value.expand(len(points), *value.shape) for name, value in values.items()}
    return GaussianMixture(items["weights"].log(), items["means"], items["covariances"], covariance_type)


def _check_size(centres: Tensor, points: Tensor) -> None:
    if centres.shape[-1] != points.shape[-1]:
        raise ValueError(
            f"init must have {points.shape[-1]} features, equal to those of the bins, got {centres.shape[-1]}"
        )


def _checked(value: Any, shape: Sequence[int | None], what: str) -> Tensor:
    try:
        tensor = torch.as_tensor(value, dtype=torch.float64, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{what} must be numbers, got {value!r}") from None
    wanted = "(" + ", ".join("D" if size is None else str(size) for size in shape) + ")"
    fits = tensor.dim() == len(shape) and all(a in {None, b} for a, b in zip(shape, tensor.shape, strict=True))
    if not fits or not tensor.isfinite().all():
        raise ValueError(f"{what} must be finite, of shape {wanted}, got shape {tuple(tensor.shape)}")
    return tensor.detach()
