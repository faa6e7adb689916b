"""The files that a command's arguments stand for."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torchsep.data import find_audio_files

__all__ = ["Inputs", "find_inputs"]


@dataclass
class Inputs:
    """Audio files, each with the folder in whose tree it was found, its parent if it was named itself."""

    roots: dict[Path, Path] = field(default_factory=dict)

    @property
    def files(self) -> list[Path]:
        """The files, in the order in which they were found."""
        return list(self.roots)


def find_inputs(arguments: Sequence[str | os.PathLike[str]]) -> Inputs:
    """The audio files that arguments stand for: files, and folders, which are searched recursively.

    Args:
        arguments: paths of files and folders; a file that is reached twice is found once.

    Raises:
        ValueError: if a folder contains no audio file.
    """
    inputs, seen = Inputs(), set()
    for path in map(Path, arguments):
        root = path if path.is_dir() else path.parent
        for file in find_audio_files([path]):
            real = os.path.realpath(file)
            if real not in seen:
                seen.add(real)
                inputs.roots[file] = root
    return inputs
