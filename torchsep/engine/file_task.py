"""One file after another through a separator, each at its own sample rate."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from torchsep import audio, registry
from torchsep.separators import Separator

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
    without is built anew for the rate of each file.

    Args:
        separator: a separator, or the name and arguments of one, without the sample rate.
        folders: for each file, the folder of its sources.
        options: how sources are written.
    """

    def __init__(
        self, separator: Separator | Mapping[str, Any], folders: Mapping[Path, Path], options: WriteOptions
    ) -> None:
        super().__init__()
        self.separator = separator
        self.folders = folders
        self.options = options
        self._built: dict[int, Separator] = {}

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> FileResult:
        """Separate one file; what goes wrong with it is its result, and does not stop the others."""
        path: Path = batch["path"]
        if "error" in batch:
            return FileResult(path, error=batch["error"])
        began = time.perf_counter()
        try:
            written, note = self._separate(path, batch["mixture"], batch["sample_rate"])
        except (OSError, ValueError, RuntimeError, MemoryError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            return FileResult(path, error=reason if reason.startswith(str(path)) else f"{path}: {reason}")
        duration = batch["mixture"].shape[-1] / batch["sample_rate"]
        return FileResult(path, written, time.perf_counter() - began, duration, note)

    def _separate(self, path: Path, mixture: Tensor, sample_rate: int) -> tuple[tuple[Path, ...], str]:
        separator = self._at(sample_rate)
        heard = audio.resample(mixture, sample_rate, separator.sample_rate)
        estimates = separator(heard)
        estimates = audio.resample(estimates, separator.sample_rate, sample_rate)[..., : mixture.shape[-1]].cpu()
        names = separator.names or [f"source_{number + 1}" for number in range(len(estimates))]
        paths = [self.folders[path] / f"{name}.{self.options.format}" for name in names]
        done = audio.write_sources(paths, estimates, sample_rate, self.options.subtype, self.options.overflow)
        return tuple(paths), _note(done, self.options)

    def _at(self, sample_rate: int) -> Separator:
        """The separator for files of a sample rate in Hz."""
        if isinstance(self.separator, Separator):
            return self.separator.to(self.device)
        if sample_rate not in self._built:
            self._built[sample_rate] = registry.build(self.separator, sample_rate=sample_rate).eval()
        return self._built[sample_rate].to(self.device)


def _note(done: audio.Written, options: WriteOptions) -> str:
    """What was done to samples above full scale, in words."""
    if done.clipped:
        return f"{done.clipped} samples above full scale were clipped"
    if done.gain != 1.0:
        return f"all sources were scaled by {done.gain:.4f} to stay below full scale"
    if done.subtype == "FLOAT" and options.subtype != "FLOAT":
        return "written as 32-bit float, since samples exceed full scale"
    return ""
