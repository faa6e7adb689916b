"""Training runs: from a configuration to a checkpoint that every command takes."""

import logging
import math
import signal
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from hydra.errors import HydraException
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
    RichProgressBar,
)
from pytorch_lightning.loggers import Logger, TensorBoardLogger

from torchsep import checkpoint, registry
from torchsep.data import SeparationData
from torchsep.engine.config import compose, instance
from torchsep.engine.separation_task import IMPROVEMENT, SeparationTask
from torchsep.engine.train.callbacks import Announce, ResumeCheckpoint, StepSeeds
from torchsep.engine.train.examples import Examples
from torchsep.engine.train.initial_weights import start_from
from torchsep.engine.train.metrics_logger import ResumableCSVLogger
from torchsep.separators import Separator

__all__ = ["Trained", "Training", "train", "training"]

_NEEDED = ("separator", "objective", "optimizer", "train_data")
_DECISIVE = ("separator", "objective", "optimizer", "scheduler", "sample_rate", "train_data", "batches", "training")


@dataclass(frozen=True)
class Training:
    """What is trained, and where its results lie.

    Args:
        config: a composed configuration with ``separator``, ``objective``, ``optimizer``, ``train_data`` and more.
    """

    config: DictConfig

    @property
    def output(self) -> Path:
        """The folder of the run."""
        return Path(self.config.output or f"outputs/{self.config.label}")


@dataclass(frozen=True)
class Trained:
    """What came of a training run.

    Args:
        path: of the checkpoint that :func:`torchsep.load` reads.
        steps: optimised in all.
        improvement: of the SI-SDR in dB on the validation data, where there is any.
        waiting: share of the time in which data was waited for, in this session.
        steps_per_second: in this session, validation not counted.
    """

    path: Path
    steps: int
    improvement: float | None
    waiting: float
    steps_per_second: float


def training(overrides: Sequence[str]) -> Training:
    """The training that Hydra overrides describe.

    Raises:
        ValueError: if an override cannot be read or names nothing, or there is too little to train.
    """
    try:
        config = compose(overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(" ".join(str(error).split())) from None
    missing = [name for name in _NEEDED if config.get(name) is None]
    if missing:
        raise ValueError(f"{', '.join(missing)} must be chosen, or an experiment, as in experiment=speech8k_dpcl")
    return Training(config)


def train(job: Training, say: Callable[[str], None] = lambda _: None, *, progress: bool = False) -> Trained:
    """Train, or go on where a run in the same folder was interrupted, and write the checkpoint.

    The folder holds ``config.yaml``, ``checkpoints/last.ckpt`` to go on from, ``checkpoints/best.ckpt`` by the gain on
    the validation data, the curves in ``metrics.csv``, and for TensorBoard where it is installed, examples of the last
    validation, and in the end ``model.safetensors``.

    Args:
        job: what to train.
        say: takes lines on what happens.
        progress: whether a bar on the terminal shows every step.

    Raises:
        ValueError: if the configuration is wrong, or the folder holds another run.
        NonFiniteLossError: if the loss is not finite; the batch is in the folder.
        KeyboardInterrupt: if interrupted; the same command goes on from the last checkpoint.
    """
    config, folder = job.config, job.output
    if config.training.patience is not None and config.valid_data is None:
        raise ValueError("valid_data must be chosen for training.patience, which counts validations")
    pl.seed_everything(config.training.seed, verbose=False)
    separator = _separator(config)
    data = SeparationData(
        train=instance(config.train_data, "train_data"),
        valid=None if config.valid_data is None else instance(config.valid_data, "valid_data"),
        seed=config.training.seed,
        **instance(config.batches, "batches"),
    )
    task = SeparationTask(
        separator,
        instance(config.objective, "objective"),
        instance(config.optimizer, "optimizer"),
        None if config.scheduler is None else instance(config.scheduler, "scheduler"),
        config.schedule,
        folder,
    )
    resume = _prepare(folder, config)
    if resume is None and config.training.start is not None:
        start_from(separator, config.training.start, say)
    announce = Announce(say)
    best = None if data.valid is None else _keep_best(folder)
    last = ResumeCheckpoint(folder / "checkpoints" / "last.ckpt", config.training.checkpoint_every)
    if resume is not None:
        say(f"going on from {resume}")
    with _quiet():
        bar = [RichProgressBar(leave=False)] if progress else []
        keepers = [] if best is None else [best]
        watching = [StepSeeds(config.training.seed), announce, last, *_extras(config, folder), *bar, *keepers]
        trainer = _trainer(config, folder, watching, 0 if resume is None else _steps(resume))
        _fit(trainer, task, data, resume)
        if best is not None and not best.best_model_path:  # it ended before the first validation
            trainer.validate(task, datamodule=data, verbose=False)
    if best is not None and best.best_model_path:
        state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)["state_dict"]
        task.load_state_dict(state)
    improvement = None if best is None else _improvement(best, trainer)
    path = folder / "model.safetensors"
    if trainer.is_global_zero:
        about = _about(job, trainer, announce, improvement)
        checkpoint.save(separator, path, about)
        say(f"written: {path}")
    return Trained(path, trainer.global_step, improvement, announce.waiting, announce.steps_per_second)


def _separator(config: DictConfig) -> Separator:
    given: Any = OmegaConf.to_container(config.separator, resolve=True)
    if "network" in given and given["network"] is None:
        raise ValueError(f"network must be chosen for {given['name']}, as in network=chimera")
    return registry.build(given, sample_rate=config.sample_rate)


def _prepare(folder: Path, config: DictConfig) -> Path | None:
    """The checkpoint to go on from, if there is one; else a fresh folder with the configuration in it."""
    last, described = folder / "checkpoints" / "last.ckpt", folder / "config.yaml"
    if last.is_file() and described.is_file() and not config.overwrite:
        before = cast("DictConfig", OmegaConf.load(described))
        other = [name for name in _DECISIVE if _plain(before.get(name)) != _plain(config.get(name))]
        if other:
            advice = "choose another output, or overwrite=true to begin anew"
            raise ValueError(f"output must not hold another run, {folder} differs in {', '.join(other)}; {advice}")
        return last
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    for stale in (folder / "checkpoints").glob("*.ckpt"):
        stale.unlink()
    OmegaConf.save(config, described, resolve=True)
    return None


def _plain(part: Any) -> Any:
    return OmegaConf.to_container(part, resolve=True) if OmegaConf.is_config(part) else part


def _keep_best(folder: Path) -> ModelCheckpoint:
    """What keeps the weights that gain most on the validation data."""
    where: dict[str, Any] = {"dirpath": folder / "checkpoints", "enable_version_counter": False}
    return ModelCheckpoint(filename="best", monitor=IMPROVEMENT, mode="max", **where)


def _improvement(best: ModelCheckpoint, trainer: pl.Trainer) -> float | None:
    """Of the weights that are kept; None where validation was switched off."""
    score = trainer.callback_metrics.get(IMPROVEMENT) if best.best_model_score is None else best.best_model_score
    return None if score is None else float(score)


def _extras(config: DictConfig, folder: Path) -> list[pl.Callback]:
    """Callbacks that a configuration may ask for."""
    callbacks: list[pl.Callback] = [LearningRateMonitor("step")]
    if config.training.examples:
        callbacks.append(Examples(config.training.examples, folder / "examples"))
    if config.training.ema_decay is not None:
        callbacks.append(EMAWeightAveraging(decay=config.training.ema_decay))
    if config.training.patience is not None:
        callbacks.append(EarlyStopping(IMPROVEMENT, mode="max", patience=config.training.patience))
    return callbacks


def _steps(path: Path) -> int:
    """How many steps a checkpoint has behind it."""
    return int(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["global_step"])


def _trainer(config: DictConfig, folder: Path, callbacks: Sequence[pl.Callback], first_step: int) -> pl.Trainer:
    logger: list[Logger] = [ResumableCSVLogger(folder, first_step)]
    if find_spec("tensorboard") is not None:
        logger.append(TensorBoardLogger(folder, name="", version="tensorboard"))
    trainer: pl.Trainer = instance(
        config.trainer,
        "trainer",
        callbacks=list(callbacks),
        logger=logger,
        enable_checkpointing=True,
        enable_progress_bar=any(isinstance(callback, RichProgressBar) for callback in callbacks),
    )
    return trainer


def _fit(trainer: pl.Trainer, task: SeparationTask, data: SeparationData, resume: Path | None) -> None:
    heed = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(task, datamodule=data, ckpt_path=resume, weights_only=True)
    except SystemExit as stop:  # what Lightning makes of an interrupt, after which it takes no more of them
        signal.signal(signal.SIGINT, heed)
        raise KeyboardInterrupt from stop
    except MisconfigurationException as error:
        raise ValueError(str(error)) from None


def _about(job: Training, trainer: pl.Trainer, announce: Announce, improvement: float | None) -> dict[str, Any]:
    """What travels with the weights."""
    config = job.config
    metrics = []
    if improvement is not None and math.isfinite(improvement):
        definition = "SI-SDR of the estimates in the best order above that of the mixture, mean over sources and items"
        metrics.append(
            {"name": "SI-SDR improvement, validation", "value": improvement, "unit": "dB", "definition": definition}
        )
    return {
        "training": {
            "label": config.label,
            "steps": trainer.global_step,
            "epochs": trainer.current_epoch,
            "hours_of_audio": announce.audio_seconds / 3600,
            "seconds": announce.seconds,
            "device": str(trainer.strategy.root_device),
            "start": config.training.start,
            "objective": _plain(config.objective),
            "optimizer": _plain(config.optimizer),
            "data": _plain(config.train_data),
        },
        "metrics": metrics,
    }


@contextmanager
def _quiet() -> Any:
    """Without Lightning's announcements, and without its advice that does not apply."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # Lightning's own use of torch
        warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero.*")  # no validation
        warnings.filterwarnings("ignore", message=".*could not find the monitored key.*")  # before the first validation
        yield
