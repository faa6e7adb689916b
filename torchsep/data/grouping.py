"""Selection and grouping of the sources of a recording."""

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path

from torchsep.checks import nearest

__all__ = ["REST", "as_groups", "check_groups", "grouped"]

REST = "*"  # all sources not in another group


def as_groups(sources: Mapping[str, Sequence[str]] | Sequence[str] | None) -> dict[str, tuple[str, ...]] | None:
    """Convert source names or groups of names to a mapping of groups; None stays None.

    Raises:
        ValueError: if there are no names, a name is repeated, or the values are neither names nor groups of names.

    Example:
        >>> as_groups(["vocals", "drums"])
        {'vocals': ('vocals',), 'drums': ('drums',)}
        >>> as_groups({"vocals": ["vocals"], "accompaniment": ["*"]})
        {'vocals': ('vocals',), 'accompaniment': ('*',)}
    """
    if sources is None:
        return None
    if isinstance(sources, str) or not sources:
        raise ValueError(f"sources must be a list of names, or map names to such lists, got {sources!r}")
    if not isinstance(sources, Mapping):
        if len(set(sources)) < len(sources):
            raise ValueError(f"sources must be distinct, got {list(sources)}")
        sources = {name: (name,) for name in sources}
    for name, members in sources.items():
        if isinstance(members, str) or not members or not all(isinstance(member, str) for member in members):
            raise ValueError(f"sources must map {name} to a list of names, got {members!r}")
    return {name: tuple(dict.fromkeys(members)) for name, members in sources.items()}


def check_groups(groups: Mapping[str, tuple[str, ...]] | None, known: Collection[str]) -> None:
    """Raise unless all names in the groups are sources of the data set."""
    for name in chain(*(groups or {}).values()):
        if known and name != REST and name not in known:
            names = ", ".join(sorted(known))
            raise ValueError(f"sources must be made of {names}, got {name!r}{nearest(name, known)}")


def grouped(
    sources: Mapping[str, tuple[Path, ...]], groups: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[Path, ...]]:
    """Files of each group; sources missing from the recording have none.

    Example:
        >>> files = {"bass": (Path("b.wav"),), "drums": (Path("d.wav"),), "vocals": (Path("v.wav"),)}
        >>> groups = grouped(files, {"vocals": ("vocals",), "rest": ("*",)})
        >>> [path.name for path in groups["rest"]]
        ['b.wav', 'd.wav']
    """
    named = set(chain(*groups.values()))
    rest = [name for name in sources if name not in named]

    def files(members: tuple[str, ...]) -> tuple[Path, ...]:
        names = chain.from_iterable(rest if member == REST else (member,) for member in members)
        return tuple(chain.from_iterable(sources.get(name, ()) for name in names))

    return {group: files(members) for group, members in groups.items()}
