"""Recordings of single sources by who or what they are of."""

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
    r"""The audio files below a folder by group: by speaker, or by class.

    Args:
        root: the folder.
        pattern: regular expression that is searched in a file's path from the root on, with forward slashes. What its
            parenthesis holds is the group, of several the last that takes part; files where it is not found are left
            out. None takes the name of the folder that the file is in.
        wanted: the only groups to take, in this order, or a text file with one in each line; all in order if None.

    Raises:
        OSError: if the folder or the text file is missing.
        ValueError: if there is no audio file, the pattern has no group or finds none, or one that is wanted is missing.

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
    """The groups that are wanted, each of which must be there."""
    if isinstance(wanted, str | os.PathLike):
        wanted = Path(wanted).expanduser().read_text(encoding="utf-8").splitlines()
    names = [name.strip() for name in wanted if name.strip()]
    if not names:
        raise ValueError("groups must name at least one group, got none")
    for name in names:
        if name not in found:
            raise ValueError(f"groups must be some of the {len(found)} found, got {name!r}{nearest(name, found)}")
    return names
