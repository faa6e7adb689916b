"""Names of sources, and names that only number them."""

import re
from collections.abc import Sequence

__all__ = ["are_numbered", "check_names", "numbered_names"]


def numbered_names(num_sources: int) -> tuple[str, ...]:
    """Names of sources that come in any order.

    Example:
        >>> numbered_names(2)
        ('source_1', 'source_2')
    """
    return tuple(f"source_{number + 1}" for number in range(num_sources))


def are_numbered(names: Sequence[str]) -> bool:
    """Whether names only number the sources, so that they say nothing of which is which.

    Example:
        >>> are_numbered(["source_1", "source_2"]), are_numbered(["vocals", "rest"])
        (True, False)
    """
    return all(re.fullmatch(r"\D*\d+", name) for name in names)


def check_names(names: Sequence[str] | None, num_sources: int) -> tuple[str, ...]:
    """Names of the sources of a network; numbered where none are given.

    Raises:
        ValueError: if there are not as many different names as sources.

    Example:
        >>> check_names(None, 2), check_names(["vocals", "rest"], 2)
        (('source_1', 'source_2'), ('vocals', 'rest'))
    """
    if names is None:
        return numbered_names(num_sources)
    if isinstance(names, str) or len(names) != num_sources or len(set(map(str, names))) != num_sources:
        raise ValueError(f"names must be {num_sources} different names, got {names!r}")
    return tuple(map(str, names))
