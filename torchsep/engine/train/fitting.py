"""Fitting in closed form: separators that learn from isolated sources without gradients."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from torchsep import audio, checkpoint
from torchsep.data import find_audio_files
from torchsep.engine.config import instance, plain
from torchsep.engine.separator_choice import SeparatorChoice
from torchsep.engine.train.job import Trained, Training
from torchsep.separators.bases.source_names import are_numbered

__all__ = ["fit_separator"]


def fit_separator(job: Training, say: Callable[[str], None] = lambda _: None) -> Trained:
    """Fit a separator to the sources of all training items, and write the checkpoint ``model.safetensors``.

    Sources are named by the data if the configuration only numbers them. The sample rate is that of the first recording
    if it is not configured.

    Args:
        job: what to fit; the separator has a method ``fit`` that takes a recording ``(C, T)`` for each source.
        say: receives progress messages.

    Raises:
        OSError: if recordings are missing.
        ValueError: if the configuration is wrong, or there is a checkpoint already and ``overwrite`` is false.
    """
    config, path = job.config, job.output / "model.safetensors"
    if path.exists() and not config.overwrite:
        raise ValueError(f"output must not hold another model, got {path}; choose another output, or overwrite=true")
    if config.sample_rate is None:
        config.sample_rate = _sample_rate(config.train_data)
    items = instance(config.train_data, "train_data")
    arguments = dict(job.choice.config)
    if are_numbered(arguments.get("names") or ()):
        arguments["names"] = list(items.names)
    separator: Any = SeparatorChoice(arguments).at(config.sample_rate)
    say(f"reading {len(items)} items of {', '.join(items.names)} at {config.sample_rate} Hz")
    sources = torch.cat([items[number]["sources"] for number in range(len(items))], -1)
    separator.fit(sources)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "label": config.label,
        "hours_of_audio": sources.shape[-1] / config.sample_rate / 3600,
        "data": plain(config.train_data),
    }
    checkpoint.save(separator, path, {"training": about})
    return Trained(path)


def _sample_rate(data: Any) -> int:
    """The sample rate of the first recording below the root of a data set, in Hz."""
    if OmegaConf.is_missing(data, "root"):
        raise ValueError("train_data is missing required values: root=...")
    root = data.get("root")
    if root is None:
        raise ValueError("sample_rate must be given for data without a root")
    if not Path(root).expanduser().is_dir():
        raise FileNotFoundError(f"{root}: is no folder; train_data.root must hold the recordings")
    return audio.probe(find_audio_files([Path(root).expanduser()])[0]).sample_rate
