"""Files and folders through a separator by ``Trainer.predict``."""

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.errors import HydraException
from hydra.utils import instantiate
from torch.utils.data import DataLoader

from torchsep import registry
from torchsep.checks import check_number
from torchsep.data import AudioFiles
from torchsep.engine.config import compose
from torchsep.engine.separate.file_task import FileResult, FileSeparationTask, WriteOptions
from torchsep.separators import Separator
from torchsep.separators.overlap_add import OverlapAdd

__all__ = ["FileResult", "WriteOptions", "output_folders", "separate_files"]


class _Collect(pl.Callback):
    """Keeps each result, and hands it on as it comes."""

    def __init__(self, receive: Callable[[FileResult], None]) -> None:
        self.receive = receive
        self.results: list[FileResult] = []

    def on_predict_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep and pass on a file's result."""
        self.results.append(outputs)
        self.receive(outputs)


def output_folders(files: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """A folder for the sources of each file, named for the file, and for as many of its folders as tell it apart.

    Example:
        >>> folders = output_folders([Path("a/song.wav"), Path("b/song.wav"), Path("b/voice.wav")], Path("out"))
        >>> [path.as_posix() for path in folders.values()]
        ['out/a/song', 'out/b/song', 'out/voice']
    """
    whole = [file.absolute().with_suffix("") for file in files]
    twins = Counter(whole)  # of one name but for the suffix
    whole = [file.absolute() if twins[name] > 1 else name for file, name in zip(files, whole, strict=True)]
    depth = dict.fromkeys(range(len(files)), 1)
    while True:
        names = [Path(*name.parts[-depth[number] :]) for number, name in enumerate(whole)]
        counts = Counter(names)
        alike = [number for number, name in enumerate(names) if counts[name] > 1]
        if not alike:
            return {file: folder / name for file, name in zip(files, names, strict=True)}
        for number in alike:
            depth[number] += 1


def separate_files(
    files: Sequence[Path],
    separator: Separator | Mapping[str, Any],
    folder: Path,
    options: WriteOptions | None = None,
    *,
    window: float | None = None,
    device: str = "auto",
    receive: Callable[[FileResult], None] = lambda _: None,
) -> list[FileResult]:
    """What became of each file: its sources, written to a folder of its own, or an error.

    Any sample rate and number of channels goes in and comes out the same. A file that fails does not stop the others.

    Args:
        files: audio files, each once.
        separator: a separator, or the name and arguments of one, without the sample rate.
        folder: where the folders of the sources are made.
        options: how sources are written.
        window: duration in seconds of windows that are separated one after another and overlap by half, in memory
            that does not depend on the files; if None whole files, or windows where there is too little memory.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        receive: called with each result as it comes.

    Raises:
        ValueError: if the window or the device cannot be had, or a source would be written over one of the files.
        KeyboardInterrupt: if interrupted; what is written by then is whole.
    """
    options = options or WriteOptions()
    if window is not None:
        _check_window(window, separator)
    folders = output_folders(files, folder)
    inputs = {file.resolve() for file in files}
    for file, target in folders.items():
        if any(path.parent == target.resolve() for path in inputs):
            raise ValueError(f"folder must not make the sources of {file} land beside a mixture, got {folder}")
    collect = _Collect(receive)
    trainer = _trainer(device, collect)
    task = FileSeparationTask(separator, folders, options, window)
    # A file is a batch of its own: files differ in length and rate.
    loader = DataLoader(AudioFiles(files), batch_size=None, shuffle=False)
    with warnings.catch_warnings():
        # Only the headers of files are loaded; the task reads what is behind them.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # Lightning's own use of torch
        try:
            trainer.predict(task, loader, return_predictions=False)
        except SystemExit as stop:  # what Lightning makes of an interrupt
            raise KeyboardInterrupt from stop
    return collect.results


def _check_window(window: float, separator: Separator | Mapping[str, Any]) -> None:
    check_number(window, "window", above=0.0)
    kind = type(separator) if isinstance(separator, Separator) else registry.separator_class(separator["name"])
    if issubclass(kind, OverlapAdd):
        raise ValueError(f"window must be left out where the separator has its own window_duration, got {window:g}")


def _trainer(device: str, callback: pl.Callback) -> pl.Trainer:
    """The trainer of the configuration on a device, without its announcements."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    kind, _, index = device.partition(":")
    accelerators = {"auto": "auto", "cpu": "cpu", "cuda": "gpu", "gpu": "gpu"}
    if kind not in accelerators or (index and not (index.isdigit() and accelerators[kind] == "gpu")):
        raise ValueError(f"device must be auto, cpu, cuda or cuda:N, got {device!r}")
    overrides = [f"trainer.accelerator={accelerators[kind]}", f"trainer.devices={f'[{index}]' if index else 1}"]
    try:
        trainer: pl.Trainer = instantiate(compose(overrides).trainer, callbacks=[callback])
    except HydraException as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise ValueError(f"device {device!r} cannot be used: {reason}") from None
    return trainer
