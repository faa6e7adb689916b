"""Options of the clusterers of :class:`ClusteringSeparator`, checked at construction."""

from collections.abc import Mapping
from typing import Any

from torchsep.checks import check_integer, check_number, nearest

__all__ = ["CLUSTERING_TYPES", "clusterer_options"]

_COMMON = ("n_init", "max_iter", "tol")
_OPTIONS = {
    "kmeans": _COMMON,
    "minibatch_kmeans": (*_COMMON, "batch_size"),
    "gaussian_mixture": (*_COMMON, "reg_covar"),
}

CLUSTERING_TYPES = tuple(_OPTIONS)


def clusterer_options(given: object, clustering_type: str, *, is_fitted: bool, has_init: bool) -> dict[str, Any] | None:
    """A copy of the options of a clusterer; None if none are given.

    Args:
        given: mapping from names to values, or None.
        clustering_type: one of ``CLUSTERING_TYPES``.
        is_fitted: whether the clusterer is fitted to each mixture; nothing has an effect otherwise.
        has_init: whether it is fitted from given clusters, so that there is a single start.

    Raises:
        ValueError: if an option is unknown to the clusterer, out of bounds, or has no effect.

    Example:
        >>> clusterer_options({"n_init": 10, "reg_covar": 1e-3}, "gaussian_mixture", is_fitted=True, has_init=False)
        {'n_init': 10, 'reg_covar': 0.001}
    """
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise ValueError(f"clusterer must be a mapping of options or None, got {given!r}")
    options = dict(given)
    known = _OPTIONS[clustering_type]
    for name, value in options.items():
        if name not in known:
            hint = nearest(str(name), known)
            raise ValueError(
                f"clusterer must have options of {clustering_type}, {', '.join(known)}, got {name!r}{hint}"
            )
        _check_value(name, value)
    if options and not is_fitted:
        raise ValueError(f"clusterer must be omitted where fit_clusterer is False, got {options!r}")
    if has_init and options.get("n_init", 1) > 1:
        raise ValueError(f"clusterer.n_init must be 1 where init is given, got {options['n_init']}")
    return options


def _check_value(name: str, value: object) -> None:
    if name == "tol":
        check_number(value, "clusterer.tol", at_least=0.0)
    elif name == "reg_covar":
        check_number(value, "clusterer.reg_covar", above=0.0)
    else:
        check_integer(value, f"clusterer.{name}", at_least=1)
