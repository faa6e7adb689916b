"""One file after another through a separator, each at its own sample rate."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from torchsep import audio, registry
from torchsep.engine.separate.memory import available_memory
from torchsep.engine.separate.windows import at_rate, fitting_window, in_windows
from torchsep.separators import Separator
from torchsep.separators.bases.source_names import numbered_names
from torchsep.separators.overlap_add import OverlapAdd

__all__ = ["FileResult", "FileSeparationTask", "WriteOptions"]


@dataclass(frozen=True)
class WriteOptions:
    """How sources are written.

    Args:
        format: suffix of the files: ``wav``, ``flac``, ``ogg`` or ``mp3``.
        subtype: encoding as soundfile names it; 24 bits if None, where the format has it.
        overflow: what to do above full scale: ``float``, ``rescale`` or ``clip``; see :func:`torchsep.audio.write`.
    """

    format: str = "wav"
    subtype: str | None = None
    overflow: audio.Overflow | None = None


@dataclass(frozen=True)
class FileResult:
    """What became of one file: the sources written, or the error, and the seconds that it took."""

    path: Path
    written: tuple[Path, ...] = ()
    seconds: float = 0.0
    duration: float = 0.0
    note: str = ""
    error: str = ""


class FileSeparationTask(pl.LightningModule):
    """Predicts by separating a file and writing its sources.

    A separator with parameters works at the rate that it was made for, and files are resampled to it and back; one
    without is built anew for the rate of each file. In windows, a file is never in memory as a whole.

    Args:
        separator: a separator, or the name and arguments of one, without the sample rate.
        folders: for each file, the folder of its sources.
        options: how sources are written.
        window: duration of the windows in seconds; if None files are separated whole if there is memory for it.
    """

    def __init__(
        self,
        separator: Separator | Mapping[str, Any],
        folders: Mapping[Path, Path],
        options: WriteOptions,
        window: float | None = None,
    ) -> None:
        super().__init__()
        self.separator = separator
        self.folders = folders
        self.options = options
        self.window = window
        self._built: dict[int, Separator] = {}

    def transfer_batch_to_device(self, batch: dict[str, Any], device: Any, dataloader_idx: int) -> dict[str, Any]:
        """The batch as it is: a path and a header."""
        return batch

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> FileResult:
        """Separate one file; what goes wrong with it is its result, and does not stop the others."""
        path: Path = batch["path"]
        if "error" in batch:
            return FileResult(path, error=batch["error"])
        began = time.perf_counter()
        try:
            written, duration, note = self._separate(path, batch["info"])
        except (OSError, ValueError, RuntimeError, MemoryError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            return FileResult(path, error=reason if reason.startswith(str(path)) else f"{path}: {reason}")
        return FileResult(path, written, time.perf_counter() - began, duration, note)

    def _separate(self, path: Path, info: audio.AudioInfo) -> tuple[tuple[Path, ...], float, str]:
        """The files written, the duration, and what is to be said of it."""
        separator, reason = self._windowed(self._at(info.sample_rate), info)
        if isinstance(separator, OverlapAdd):
            paths, samples, done = self._stream(path, separator, info.sample_rate)
        else:
            mixture, _ = audio.read(path)
            estimates, samples = separator(mixture.to(self.device)).cpu(), mixture.shape[-1]
            paths = self._paths(path, separator, len(estimates))
            done = audio.write_sources(paths, estimates, info.sample_rate, self.options.subtype, self.options.overflow)
        notes = "; ".join(filter(None, (reason, _note(done, self.options))))
        return tuple(paths), samples / info.sample_rate, notes

    def _stream(self, path: Path, separator: OverlapAdd, sample_rate: int) -> tuple[list[Path], int, audio.Written]:
        """The files, the number of samples, and what was done to them, one window after another."""
        pieces = separator.stream(block.to(self.device) for block in audio.read_blocks(path))
        first = next(pieces)
        paths, samples = self._paths(path, separator, len(first)), 0
        with audio.SourceWriter(paths, sample_rate, self.options.subtype, self.options.overflow) as writer:
            for piece in chain((first,), pieces):
                writer.write(piece)
                samples += piece.shape[-1]
        return paths, samples, writer.written

    def _paths(self, path: Path, separator: Separator, num_sources: int) -> list[Path]:
        names = separator.names or numbered_names(num_sources)
        return [self.folders[path] / f"{name}.{self.options.format}" for name in names]

    def _at(self, sample_rate: int) -> Separator:
        """The separator for files of a sample rate in Hz."""
        if sample_rate not in self._built:
            if isinstance(self.separator, Separator):
                self._built[sample_rate] = at_rate(self.separator, sample_rate).eval()
            else:
                self._built[sample_rate] = registry.build(self.separator, sample_rate=sample_rate).eval()
        return self._built[sample_rate].to(self.device)

    def _windowed(self, separator: Separator, info: audio.AudioInfo) -> tuple[Separator, str]:
        """The separator in windows, if it is to be; and if nobody asked for them, why."""
        if isinstance(separator, OverlapAdd):
            return separator, ""
        if self.window is not None:
            return in_windows(separator, self.window), ""
        available = available_memory(self.device)
        chosen = None if available is None else fitting_window(separator, info, available)
        return (separator, "") if chosen is None else (in_windows(separator, chosen[0]), chosen[1])


def _note(done: audio.Written, options: WriteOptions) -> str:
    """What was done to samples above full scale, in words."""
    if done.clipped:
        return f"{done.clipped} samples above full scale were clipped"
    if done.gain != 1.0:
        return f"all sources were scaled by {done.gain:.4f} to stay below full scale"
    if done.subtype == "FLOAT" and options.subtype != "FLOAT":
        return "written as 32-bit float, since samples exceed full scale"
    return ""
