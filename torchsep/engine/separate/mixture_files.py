"""Audio files as a data set of mixtures: read whole, or block by block where they are separated in windows."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from torchsep import audio
from torchsep.data import AudioFiles
from torchsep.engine.separate.memory import available_memory
from torchsep.engine.separator_choice import SeparatorChoice
from torchsep.engine.windows import fitting_window
from torchsep.separators import OverlapAdd

__all__ = ["MixtureFiles"]


class MixtureFiles(AudioFiles):
    """Audio files to separate, each with what is needed to do so.

    An item has ``path``, ``sample_rate``, ``note`` (what the user should know) and ``started`` (when reading it began);
    then ``mixture (C, T)``, or ``blocks``, an iterator over blocks ``(C, t)``, with ``window_duration`` in seconds and
    ``num_samples`` of the file. A file that cannot be read has ``path`` and ``error``.

    Args:
        files: paths of audio files.
        choice: of the separator, whose memory per sample decides between the two.
        window_duration: of all files, in seconds; if None only files that do not fit into memory are read in blocks.
        device: on which they will be separated.
    """

    def __init__(
        self, files: Sequence[Path], choice: SeparatorChoice, window_duration: float | None, device: torch.device
    ) -> None:
        super().__init__(files)
        self.choice = choice
        self.window_duration = window_duration
        self.device = device

    def __getitem__(self, index: int) -> dict[str, Any]:
        started = time.perf_counter()
        item = super().__getitem__(index)
        if "error" in item:
            return item
        path, info = item["path"], item["info"]
        try:
            window_duration, note = self._window(info)
            known = {"path": path, "sample_rate": info.sample_rate, "note": note, "started": started}
            if window_duration is not None:
                return {
                    **known,
                    "blocks": audio.read_blocks(path),
                    "num_samples": info.num_samples,
                    "window_duration": window_duration,
                }
            return {**known, "mixture": audio.read(path)[0]}
        except (OSError, ValueError, RuntimeError, MemoryError) as error:
            return {"path": path, "error": " ".join(str(error).split()) or type(error).__name__}

    def _window(self, info: audio.AudioInfo) -> tuple[float | None, str]:
        """The window duration for a file, if it is to be separated in windows, and a note."""
        separator = self.choice.at(info.sample_rate)
        if isinstance(separator, OverlapAdd):
            return separator.window_duration, ""
        if self.window_duration is not None:
            return self.window_duration, ""
        available = available_memory(self.device)
        chosen = None if available is None else fitting_window(separator, info, available)
        return (None, "") if chosen is None else chosen
