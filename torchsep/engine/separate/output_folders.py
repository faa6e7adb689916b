"""A folder for the sources of each file, in the tree of the files."""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

__all__ = ["output_folders"]

_LONGEST_STEM = 200  # bytes that leave room for a digest in a file name


def output_folders(files: Sequence[Path], folder: Path, roots: Mapping[Path, Path] | None = None) -> dict[Path, Path]:
    """A different folder below ``folder`` for the sources of each file.

    It is named after the file without its suffix, with the folders between the file and its root. Where files would
    share one, they get their suffix, then as many parents of the root as tell them apart. A file that shares its name
    with no other is not affected by the others. Names that differ only in case or Unicode normalisation count as
    shared, since they are on some systems. The time is proportional to the number of files.

    Args:
        files: paths, which need not exist.
        folder: where the folders are.
        roots: the folder in whose tree a file was found; for files that are not in the mapping, their parent.

    Example:
        >>> files = [Path("in/a/song.wav"), Path("in/b/song.wav"), Path("in/b/song.mp3")]
        >>> [path.as_posix() for path in output_folders(files, Path("out"), dict.fromkeys(files, Path("in"))).values()]
        ['out/a/song', 'out/b/song.wav', 'out/b/song.mp3']
        >>> [path.as_posix() for path in output_folders(files[:2], Path("out")).values()]
        ['out/a/song', 'out/b/song']
    """
    roots = roots or {}
    places = {file: _place(file, roots.get(file)) for file in files}
    depth = max((len(place.above) for place in places.values()), default=0)
    found: dict[Path, str] = {}
    taken: set[str] = set()
    pending = list(places)
    for level in range(2 * (depth + 1)):
        claims = {file: _claim(places[file], level) for file in pending}
        keys = {file: _comparable(claim) for file, claim in claims.items()}
        counts = Counter(keys.values())
        unique = {file for file, key in keys.items() if counts[key] == 1 and key not in taken}
        found |= {file: claims[file] for file in unique}
        taken |= {keys[file] for file in unique}
        pending = [file for file in pending if file not in unique]
        if not pending:
            break
    for file in pending:  # the same file by two paths, or names made up to collide
        claim = next(claim for claim in _digested(file, places[file]) if _comparable(claim) not in taken)
        found[file] = claim
        taken.add(_comparable(claim))
    return {file: folder / found[file] for file in places}


class _Place(NamedTuple):
    """A path in parts: the folders above the root, those between the root and the file, its name."""

    above: tuple[str, ...]
    between: tuple[str, ...]
    name: str


def _place(file: Path, root: Path | None) -> _Place:
    whole = Path(os.path.abspath(file))  # noqa: PTH100 - which removes `..`
    base = whole.parent if root is None else Path(os.path.abspath(root))  # noqa: PTH100
    base = base if whole.is_relative_to(base) and whole != base else whole.parent
    return _Place(base.parts[1:], whole.relative_to(base).parts[:-1], whole.name or "root")


def _claim(place: _Place, level: int) -> str:
    """The name of a folder: at odd levels with the suffix, and with one more parent at every second."""
    parents, has_suffix = divmod(level, 2)
    above = place.above[len(place.above) - min(parents, len(place.above)) :]
    return "/".join((*above, *place.between, place.name if has_suffix else _stem(place.name)))


def _stem(name: str) -> str:
    """A name without its suffix, and without the dots and spaces at its end, which Windows ignores."""
    return Path(name).stem.rstrip(". ") or name


def _digested(file: Path, place: _Place) -> Iterator[str]:
    """Names with a digest of the path, then with numbers."""
    text = str(file).encode("utf-8", "surrogatepass")
    stem = _stem(place.name).encode("utf-8", "surrogatepass")[:_LONGEST_STEM].decode("utf-8", "ignore")
    first = "/".join((*place.between, f"{stem}-{hashlib.sha256(text).hexdigest()[:8]}"))
    return chain((first,), (f"{first}-{number}" for number in count(2)))


def _comparable(name: str) -> str:
    """A name as file systems compare it that ignore case or normalise."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
