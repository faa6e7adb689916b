"""Source names, which are also names of files, including numbered names of sources in no fixed order."""

import re
import unicodedata
from collections.abc import Sequence

__all__ = ["are_numbered", "check_names", "check_source_names", "numbered_names"]

_LONGEST = 100  # bytes, which leave room for a suffix
_RESERVED_CHARACTERS = '/\\:*?"<>|'
# Control characters, separators of lines, and halves of surrogate pairs, which cannot be encoded.
_RESERVED_CATEGORIES = ("Cc", "Zl", "Zp", "Cs")
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\.|$)")  # of Windows


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
        ValueError: if the number of names is not the number of sources, or as for :func:`check_source_names`.

    Example:
        >>> check_names(None, 2), check_names(["vocals", "residual"], 2)
        (('source_1', 'source_2'), ('vocals', 'residual'))
    """
    if names is None:
        return numbered_names(num_sources)
    if isinstance(names, str) or len(names) != num_sources or len(set(map(str, names))) != num_sources:
        raise ValueError(f"names must be {num_sources} different names, got {names!r}")
    return check_source_names(names)


def check_source_names(names: Sequence[str]) -> tuple[str, ...]:
    r"""The names of sources, as names of files on any system.

    Raises:
        ValueError: if one is empty, longer than 100 bytes, hidden, reserved or not a plain name without folders; or if
            two are equal or differ only in case or Unicode normalisation.

    Example:
        >>> check_source_names(["lead vocals", "bass"])
        ('lead vocals', 'bass')
        >>> check_source_names(["../vocals", "bass"])
        Traceback (most recent call last):
        ...
        ValueError: names must hold none of / \ : * ? " < > |, got '../vocals'
    """
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise ValueError(f"names must be a sequence of names, got {names!r}")
    known: dict[str, str] = {}
    for name in names:
        _check_name(name)
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
        if key in known:
            raise ValueError(f"names must be different names, also in lower case, got {known[key]!r} and {name!r}")
        known[key] = name
    return tuple(names)


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise ValueError(f"names must be texts that are not empty, got {name!r}")
    if any(character in _RESERVED_CHARACTERS for character in name):
        raise ValueError(f"names must hold none of {' '.join(_RESERVED_CHARACTERS)}, got {_short(name)}")
    if any(unicodedata.category(character) in _RESERVED_CATEGORIES for character in name):
        raise ValueError(f"names must hold no control characters or line breaks, got {_short(name)}")
    if len(name.encode()) > _LONGEST:
        raise ValueError(f"names must take at most {_LONGEST} bytes, got {_short(name)}")
    if name[0] in ". " or name[-1] in ". ":
        raise ValueError(f"names must neither begin nor end with a dot or a space, got {name!r}")
    if _DEVICES.match(name):
        raise ValueError(f"names must not be reserved for devices, got {name!r}")


def _short(name: str) -> str:
    return ascii(name if len(name) <= _LONGEST else f"{name[:_LONGEST]}...")
