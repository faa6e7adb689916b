"""Source names, including numbered names of sources in no fixed order."""

import re
from collections.abc import Sequence

__all__ = ["are_numbered", "check_names", "numbered_names"]


def numbered_names(num_sources: int) -> tuple[str, ...]:
    """Numbered names, for sources in no fixed order.

    Example:
        >>> numbered_names(2)
        ('source_1', 'source_2')
    """
    return tuple(f"source_{number + 1}" for number in range(num_sources))


def are_numbered(names: Sequence[str]) -> bool:
    """Whether all names are numbered names, so that the order of the sources has no meaning.

    Example:
        >>> are_numbered(["source_1", "source_2"]), are_numbered(["vocals", "residual"])
        (True, False)
    """
    return all(re.fullmatch(r"\D*\d+", name) for name in names)


def check_names(names: Sequence[str] | None, num_sources: int) -> tuple[str, ...]:
    """The given names of a network's sources, or numbered names if None.

    Raises:
        ValueError: if the number of distinct names is not the number of sources.

    Example:
        >>> check_names(None, 2), check_names(["vocals", "residual"], 2)
        (('source_1', 'source_2'), ('vocals', 'residual'))
    """
    if names is None:
        return numbered_names(num_sources)
    if isinstance(names, str) or len(names) != num_sources or len(set(map(str, names))) != num_sources:
        raise ValueError(f"names must be {num_sources} different names, got {names!r}")
    return tuple(map(str, names))
