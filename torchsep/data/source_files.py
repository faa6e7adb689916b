"""Grouping of recordings of single sources by speaker or class."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from torchsep.checks import nearest
from torchsep.data.files import find_audio_files

__all__ = ["find_groups"]


def find_groups(
    root: str | os.PathLike[str],
    pattern: str | None = None,
    wanted: Sequence[str] | str | os.PathLike[str] | None = None,
) -> dict[str, list[Path]]:
    r"""Find audio files below a folder, grouped by speaker or class.

    Args:
        root: root folder.
        pattern: regular expression searched in the path of a file relative to the root, with forward slashes. Its last
            matching capturing group is the name of the group; files without a match are ignored. If None, the name of
            the parent folder is used.
        wanted: names of the groups to use, in this order, or a text file with one name per line; all groups, sorted,
            if None.

    Raises:
        OSError: if the folder or the text file is missing.
        ValueError: if there are no audio files, the pattern has no capturing group or no match, or a wanted group is
            missing.

    Example:
        >>> import tempfile, torch
        >>> from torchsep import audio
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("ann/1.wav", "ann/2.wav", "bob/1.wav"):
        ...         _ = audio.write(f"{root}/{name}", torch.zeros(1, 80), 8000)
        ...     by_folder, by_name = find_groups(root), find_groups(root, r"(\d)\.wav$")
        >>> {group: len(files) for group, files in by_folder.items()}
        {'ann': 2, 'bob': 1}
        >>> {group: len(files) for group, files in by_name.items()}
        {'1': 2, '2': 1}
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: is no folder; root must hold the recordings")
    expression = _expression(pattern)
    found: dict[str, list[Path]] = {}
    for path in find_audio_files([root]):
        match = expression.search(path.relative_to(root).as_posix())
        if match and match.lastindex:
            found.setdefault(match[match.lastindex], []).append(path)
    if not found:
        rule = f"files in which {pattern!r} is found" if pattern else "a folder of audio files for each group"
        raise ValueError(f"{root}: must hold {rule}, got none")
    return dict(sorted(found.items())) if wanted is None else {name: found[name] for name in _known(wanted, found)}


def _expression(pattern: str | None) -> re.Pattern[str]:
    try:
        expression = re.compile(r"([^/]+)/[^/]+$" if pattern is None else pattern)
    except re.error as error:
        raise ValueError(f"group_pattern must be a regular expression, got {pattern!r}: {error}") from None
    if not expression.groups:
        raise ValueError(f"group_pattern must have a parenthesis around the name of the group, got {pattern!r}")
    return expression


def _known(wanted: Sequence[str] | str | os.PathLike[str], found: dict[str, list[Path]]) -> list[str]:
    """Names of the wanted groups, after checking that they exist."""
    if isinstance(wanted, str | os.PathLike):
        wanted = Path(wanted).expanduser().read_text(encoding="utf-8").splitlines()
    names = [name.strip() for name in wanted if name.strip()]
    if not names:
        raise ValueError("groups must name at least one group, got none")
    for name in names:
        if name not in found:
            raise ValueError(f"groups must be some of the {len(found)} found, got {name!r}{nearest(name, found)}")
    return names
