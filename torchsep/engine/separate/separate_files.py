"""Files and folders through a separator by ``Trainer.predict``."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig
from torch.utils.data import DataLoader

from torchsep import audio
from torchsep.checks import check_number
from torchsep.engine.config import compose, instance
from torchsep.engine.lightning import interruptible, quiet
from torchsep.engine.separate.inputs import Inputs
from torchsep.engine.separate.mixture_files import MixtureFiles
from torchsep.engine.separate.output_folders import output_folders
from torchsep.engine.separate.source_file_writer import FileResult, SourceFileWriter, WriteOptions
from torchsep.engine.separation_task import SeparationTask
from torchsep.engine.separator_choice import SeparatorChoice
from torchsep.separators import OverlapAdd

__all__ = ["device_overrides", "separate_files"]


def device_overrides(device: str) -> list[str]:
    """Overrides of the trainer's configuration for a device.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Example:
        >>> device_overrides("cuda:1")
        ['trainer.accelerator=gpu', 'trainer.devices=[1]']
    """
    kind, _, index = device.partition(":")
    accelerators = {"auto": "auto", "cpu": "cpu", "cuda": "gpu", "gpu": "gpu"}
    if kind not in accelerators or (index and not (index.isdigit() and accelerators[kind] == "gpu")):
        raise ValueError(f"device must be auto, cpu, cuda or cuda:N, got {device!r}")
    return [f"trainer.accelerator={accelerators[kind]}", f"trainer.devices={f'[{index}]' if index else 1}"]


def separate_files(
    files: Inputs | Sequence[Path],
    choice: SeparatorChoice,
    folder: Path,
    options: WriteOptions | None = None,
    *,
    window_duration: float | None = None,
    trainer: DictConfig | None = None,
    receive: Callable[[FileResult | float], None] = lambda _: None,
) -> list[FileResult]:
    """Separate files, and write the sources of each to ``folder/label/name``: the label of the choice, then the file.

    The sources keep the sample rate and number of channels of the file. A file that fails does not stop the others.

    Args:
        files: audio files, each once; those of :func:`find_inputs` with the tree in which they were found.
        choice: of the separator.
        folder: where the folder of this separator is created, which holds the folders of the sources.
        options: how sources are written.
        window_duration: in seconds, of windows that are separated one after another and overlap by half, in memory
            that does not depend on the length of the files; if None whole files, or windows where memory is short.
        trainer: the part ``trainer`` of a configuration; the default if None.
        receive: called with each result as it comes, and in windows with the part of the current file, from 0 to 1,
            that is separated.

    Returns:
        The result of each file: the sources written, or an error.

    Raises:
        ValueError: if the separator cannot be built, the window or the device cannot be used, or a source would
            overwrite one of the files.
        KeyboardInterrupt: if interrupted; files written by then are complete.
    """
    choice.check(has_sources=False)
    if window_duration is not None:
        check_number(window_duration, "window", above=0.0)
        if issubclass(choice.kind, OverlapAdd):
            rule = "be omitted where the separator has its own window_duration"
            raise ValueError(f"window must {rule}, got {window_duration:g}")
    inputs = files if isinstance(files, Inputs) else Inputs({file: file.parent for file in files})
    results = folder / choice.label
    folders = output_folders(inputs.files, results, inputs.roots)
    _check_apart(folders, folder)
    _build_for_first(inputs.files, choice)
    writer = SourceFileWriter(folders, results, options or WriteOptions(), receive)
    runner = _trainer(compose().trainer if trainer is None else trainer, writer)
    task = SeparationTask(choice, catch_errors=True)
    # Each file is a batch of its own: files differ in length and sample rate.
    mixtures = MixtureFiles(inputs.files, choice, window_duration, runner.strategy.root_device)
    with quiet(), interruptible():
        runner.predict(task, DataLoader(mixtures, batch_size=None, shuffle=False), return_predictions=False)
    return writer.results


def _check_apart(folders: Mapping[Path, Path], folder: Path) -> None:
    """Raise if sources would be written beside a mixture, which one of them could overwrite."""
    inputs = {os.path.dirname(os.path.realpath(file)) for file in folders}  # noqa: PTH120 - fast for many files
    for file, target in folders.items():
        if os.path.realpath(target) in inputs:
            raise ValueError(f"folder must not make the sources of {file} land beside a mixture, got {folder}")


def _build_for_first(files: Sequence[Path], choice: SeparatorChoice) -> None:
    """Build the separator for the first file that can be read, so that wrong arguments are an error at once."""
    for file in files:
        try:
            info = audio.probe(file)
            audio.check_rate(file, info)
        except (OSError, ValueError):
            continue
        choice.check(has_sources=False, built=choice.at(info.sample_rate))
        return


def _trainer(config: DictConfig, callback: pl.Callback) -> Any:
    with quiet():
        try:
            return instance(config, "trainer", callbacks=[callback])
        except ValueError as error:
            raise ValueError(f"device cannot be used: {error}") from None
