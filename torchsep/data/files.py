"""Data set of audio files without known sources."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from torchsep import audio

__all__ = ["AudioFiles", "find_audio_files"]


def find_audio_files(paths: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """List audio files, with folders searched recursively and duplicates removed.

    Raises:
        ValueError: if a folder contains no audio file.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        files = [path]
        if path.is_dir():
            inside = (file for file in sorted(path.rglob("*")) if not file.name.startswith("."))
            files = [file for file in inside if file.suffix.lower() in audio.AUDIO_SUFFIXES and file.is_file()]
            if not files:
                raise ValueError(f"{path} holds no audio file ({', '.join(audio.AUDIO_SUFFIXES)})")
        for file in files:
            found.setdefault(file.resolve(), file)
    return list(found.values())


class AudioFiles(Dataset[dict[str, Any]]):
    """Headers of audio files: items with ``path`` and ``info``, or ``path`` and ``error`` for unreadable files.

    Samples are not read, as a file may not fit into memory.

    Args:
        files: paths of audio files.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = list(files)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path = self.files[index]
        try:
            info = audio.probe(path)
            audio.check_rate(path, info)
            return {"path": path, "info": info}
        except (OSError, ValueError) as error:
            return {"path": path, "error": str(error)}
