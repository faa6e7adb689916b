"""Separated sources to files, as a Lightning callback."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from torchsep import audio
from torchsep.engine.separate.inputs import mark
from torchsep.separators import OverlapAdd, Resampled, Separator
from torchsep.separators.bases.source_names import numbered_names

__all__ = ["FileResult", "SourceFileWriter", "WriteOptions"]


@dataclass(frozen=True)
class WriteOptions:
    """How sources are written.

    Args:
        format: suffix of the files: ``wav``, ``flac``, ``ogg`` or ``mp3``.
        subtype: encoding as soundfile names it; 24 bits if None, where the format has it.
        overflow: what to do with samples above full scale: ``float``, ``rescale`` or ``clip``; see
            :func:`torchsep.audio.write`.
        compression: bit rate or quality of ``ogg`` and ``mp3``.
    """

    format: str = "wav"
    subtype: str | None = None
    overflow: audio.Overflow | None = None
    compression: audio.Compression | None = None

    @property
    def encoding(self) -> tuple[str | None, audio.Overflow | None, audio.Compression | None]:
        """The options in the order in which :mod:`torchsep.audio` takes them."""
        return self.subtype, self.overflow, self.compression


@dataclass(frozen=True)
class FileResult:
    """The outcome of one file: the sources written, or the error, the seconds that it took and its duration."""

    path: Path
    written: tuple[Path, ...] = ()
    seconds: float = 0.0
    duration: float = 0.0
    note: str = ""
    error: str = ""


class SourceFileWriter(pl.Callback):
    """Write the estimates of each predicted file, and collect the results.

    An error on one file is its result, and does not stop the others.

    Args:
        folders: for each file, the folder of its sources.
        folder: folder that holds them, which is marked as results.
        options: how sources are written.
        receive: called with each result as it comes, and in windows with the part of the file that is separated.
    """

    def __init__(
        self,
        folders: Mapping[Path, Path],
        folder: Path,
        options: WriteOptions,
        receive: Callable[[FileResult | float], None],
    ) -> None:
        self.folders = folders
        self.folder = folder
        self.options = options
        self.receive = receive
        self.results: list[FileResult] = []

    def on_predict_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Write the sources of one file."""
        result = self._result(pl_module, outputs, batch)
        self.results.append(result)
        self.receive(result)

    def _result(self, task: Any, outputs: Any, batch: Mapping[str, Any]) -> FileResult:
        path: Path = batch["path"]
        try:
            if isinstance(outputs, Exception):
                raise outputs
            separator = task.separator_for(batch)
            if isinstance(outputs, Tensor):
                paths, samples, done = self._write(path, separator, outputs.cpu(), batch["sample_rate"])
            else:
                paths, samples, done = self._stream(path, separator, outputs, batch)
            mark(self.folder.parent, self.folder.name)
        except (OSError, ValueError, RuntimeError, MemoryError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            return FileResult(path, error=reason if reason.startswith(str(path)) else f"{path}: {reason}")
        notes = (batch["note"], _band_note(separator), _note(done, self.options))
        note = "; ".join(filter(None, notes))
        seconds = time.perf_counter() - batch["started"]
        return FileResult(path, tuple(paths), seconds, samples / batch["sample_rate"], note)

    def _write(
        self, path: Path, separator: Separator, estimates: Tensor, sample_rate: int
    ) -> tuple[list[Path], int, audio.Written]:
        paths = self._paths(path, separator, len(estimates))
        done = audio.write_sources(paths, estimates, sample_rate, *self.options.encoding)
        return paths, estimates.shape[-1], done

    def _stream(
        self, path: Path, separator: Separator, blocks: Any, batch: Mapping[str, Any]
    ) -> tuple[list[Path], int, audio.Written]:
        """Write blocks of estimates one after another."""
        blocks = iter(blocks)
        first = next(blocks)
        paths, samples = self._paths(path, separator, len(first)), 0
        with audio.SourceWriter(paths, batch["sample_rate"], *self.options.encoding) as writer:
            for block in chain((first,), blocks):
                writer.write(block)
                samples += block.shape[-1]
                self.receive(min(1.0, samples / batch["num_samples"]))
        return paths, samples, writer.written

    def _paths(self, path: Path, separator: Separator, num_sources: int) -> list[Path]:
        names = separator.names or numbered_names(num_sources)
        return [self.folders[path] / f"{name}.{self.options.format}" for name in names]


def _band_note(separator: Separator) -> str:
    """What becomes of the band that the rate of a model lacks, in words."""
    while isinstance(separator, OverlapAdd):
        separator = separator.separator
    if not isinstance(separator, Resampled) or separator.separator.sample_rate >= separator.sample_rate:
        return ""
    rate = separator.separator.sample_rate / 1000
    what = f"what is above {rate / 2:g} kHz is shared" if separator.high_band == "share" else ""
    return f"the model works at {rate:g} kHz: {what or f'nothing above {rate / 2:g} kHz is separated'}"


def _note(done: audio.Written, options: WriteOptions) -> str:
    """What was done to samples above full scale, in words."""
    if done.clipped:
        return f"{done.clipped} samples above full scale were clipped"
    if done.gain != 1.0:
        return f"all sources were scaled by {done.gain:.4f} to stay below full scale"
    if done.subtype == "FLOAT" and options.subtype != "FLOAT":
        return "written as 32-bit float, since samples exceed full scale"
    return ""
