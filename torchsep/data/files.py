"""Audio files as a data set of mixtures without known sources."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from torchsep import audio

__all__ = ["AudioFiles", "find_audio_files"]


def find_audio_files(paths: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """The files named, with folders replaced by the audio files in them, at any depth; each once.

    Raises:
        ValueError: if a folder holds no audio file.
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
    """Each file as ``path`` and ``info``, what its header says; one that cannot be read as ``path`` and ``error``.

    The samples are left to who knows how many of them fit into memory.

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
            return {"path": path, "info": audio.probe(path)}
        except (OSError, ValueError) as error:
            return {"path": path, "error": str(error)}
