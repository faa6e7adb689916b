"""What is trained, and what comes out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from torchsep.engine.overrides import parse_overrides
from torchsep.engine.run import configure
from torchsep.engine.separator_choice import SeparatorChoice
from torchsep.resources import resource_folder

__all__ = ["Trained", "Training", "training"]

_REQUIRED = ("separator", "objective", "optimizer", "train_data")


@dataclass(frozen=True)
class Training:
    """What is trained, and where its results are written.

    Args:
        config: a composed configuration with ``separator``, ``objective``, ``optimizer``, ``train_data`` and more.
        choice: of the separator.
    """

    config: DictConfig
    choice: SeparatorChoice

    @property
    def output(self) -> Path:
        """The folder of the run."""
        return Path(self.config.output or f"outputs/{self.config.label}")

    @property
    def is_closed_form(self) -> bool:
        """Whether the separator is fitted to isolated sources by its method ``fit``, without an objective."""
        return self.config.objective is None and callable(getattr(self.choice.kind, "fit", None))


@dataclass(frozen=True)
class Trained:
    """The outcome of a training run.

    Args:
        path: of the checkpoint that :func:`torchsep.load` reads.
        steps: number of optimiser steps in total.
        improvement: SI-SDR improvement in dB on the validation data, if there is any.
        waiting: fraction of the time spent waiting for data, in this session.
        steps_per_second: in this session, without validation.
    """

    path: Path
    steps: int = 0
    improvement: float | None = None
    waiting: float = 0.0
    steps_per_second: float = 0.0


def training(overrides: Sequence[str]) -> Training:
    """The training that Hydra overrides describe.

    A separator with an experiment of its own name is trained as that describes.

    Raises:
        ValueError: if an override cannot be parsed or is unknown, or a required part is missing.
    """
    config, choice = configure([*_own_experiment(overrides), *overrides])
    job = Training(config, choice)
    required = ("separator", "train_data") if job.is_closed_form else _REQUIRED
    missing = [name for name in required if config.get(name) is None]
    if missing:
        raise ValueError(f"{', '.join(missing)} must be chosen, or an experiment, as in experiment=speech8k_dpcl")
    if "network" in choice.config and choice.config["network"] is None:
        raise ValueError(f"network must be chosen for {choice.name}, as in network=chimera")
    return job


def _own_experiment(overrides: Sequence[str]) -> list[str]:
    """The override that chooses the experiment of a separator, if it has one and none is chosen."""
    chosen = {override.key_or_group: str(override.value()) for override in parse_overrides(overrides)}
    name = chosen.get("separator", "")
    if "experiment" in chosen or not name.isidentifier():
        return []
    described = resource_folder("configs") / "experiment" / f"{name}.yaml"
    return [f"experiment={name}"] if described.is_file() else []
