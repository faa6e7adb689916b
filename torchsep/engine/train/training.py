"""Training runs: from a configuration to a checkpoint."""

import math
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import EarlyStopping, EMAWeightAveraging, LearningRateMonitor
from pytorch_lightning.loggers import Logger, TensorBoardLogger

from torchsep import checkpoint
from torchsep.data import SeparationData
from torchsep.engine.config import instance, plain
from torchsep.engine.lightning import interruptible, quiet
from torchsep.engine.separation_task import IMPROVEMENT, SeparationTask
from torchsep.engine.train.callbacks import ProgressReport, StepSeeds
from torchsep.engine.train.examples import Examples
from torchsep.engine.train.fitting import fit_separator
from torchsep.engine.train.initial_weights import load_initial_weights
from torchsep.engine.train.job import Trained, Training
from torchsep.engine.train.metrics_logger import ResumableCSVLogger
from torchsep.engine.train.resuming import BestCheckpoint, ResumeCheckpoint, intact_checkpoint

__all__ = ["run_training"]

_IDENTIFYING = ("separator", "objective", "optimizer", "scheduler", "sample_rate", "train_data", "batches", "training")


def run_training(
    job: Training,
    say: Callable[[str], None] = lambda _: None,
    progress: Callable[[int, int | None, int], None] = lambda _done, _total, _epoch: None,
) -> Trained:
    """Train, or resume an interrupted run in the same folder, and write the checkpoint.

    Without an objective, a separator that has a method ``fit`` is fitted in closed form.

    The folder holds ``config.yaml``, ``checkpoints/last.ckpt`` to resume from, ``checkpoints/best.ckpt`` by the
    improvement on the validation data, on which the last step is validated too, the learning curves in ``metrics.csv``
    (and for TensorBoard if it is installed), examples of the last validation, and at the end ``model.safetensors``.

    Args:
        job: what to train.
        say: receives progress messages.
        progress: called after each step with the number of steps, their total if it is known, and the epoch.

    Raises:
        ValueError: if the configuration is wrong, or the folder holds another run.
        NonFiniteLossError: if the loss is not finite; the batch is in the folder.
        KeyboardInterrupt: if interrupted; the same command resumes after the step at which it was.
    """
    config, folder = job.config, job.output
    if job.is_closed_form:
        return fit_separator(job, say)
    if config.training.patience is not None and config.valid_data is None:
        raise ValueError("valid_data must be chosen for training.patience, which counts validations")
    pl.seed_everything(config.training.seed, verbose=False)
    separator = job.choice.at(config.sample_rate).train()
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
        folder=folder,
    )
    resume = _prepare(folder, config, say)
    if resume is None and config.training.start is not None:
        load_initial_weights(separator, config.training.start, say)
    report = ProgressReport(say, progress)
    best = None if data.valid is None else BestCheckpoint(folder / "checkpoints" / "best.ckpt", IMPROVEMENT)
    last = ResumeCheckpoint(folder / "checkpoints" / "last.ckpt", config.training.checkpoint_every, say)
    if resume is not None:
        say(f"resuming from {resume}")
    with quiet():
        optional = [] if best is None else [best]
        callbacks = [StepSeeds(config.training.seed), report, last, *_extras(config, folder), *optional]
        trainer = _trainer(config, folder, callbacks, 0 if resume is None else _steps(resume))
        _fit(trainer, task, data, resume)
        if best is not None:
            _validate_end(trainer, task, data, (report, best, last))
    if best is not None and best.path.is_file():
        state = torch.load(best.path, map_location="cpu", weights_only=True)["state_dict"]
        task.load_state_dict(state)
    improvement = None if best is None else best.score
    path = folder / "model.safetensors"
    if trainer.is_global_zero:
        checkpoint.save(separator, path, _about(job, trainer, report, improvement))
    return Trained(path, trainer.global_step, improvement, report.waiting, report.steps_per_second)


def _prepare(folder: Path, config: DictConfig, say: Callable[[str], None]) -> Path | None:
    """The checkpoint to resume from, if there is one; else prepare the folder, with the configuration in it."""
    described = folder / "config.yaml"
    if described.is_file() and not config.overwrite:
        last = intact_checkpoint(folder / "checkpoints" / "last.ckpt", say)
        if last is not None:
            before = cast("DictConfig", OmegaConf.load(described))
            other = [name for name in _IDENTIFYING if _identity(before, name) != _identity(config, name)]
            if other:
                advice = "choose another output, or overwrite=true to start again"
                raise ValueError(f"output must not hold another run, {folder} differs in {', '.join(other)}; {advice}")
            OmegaConf.save(config, described, resolve=True)  # with the new number of steps
            return last
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    for stale in (folder / "checkpoints").glob("*.ckpt"):
        stale.unlink()
    OmegaConf.save(config, described, resolve=True)
    return None


def _identity(config: DictConfig, name: str) -> Any:
    """What must not change between the sessions of a run; the number of steps of a schedule may."""
    part = plain(config.get(name))
    if name == "scheduler" and isinstance(part, dict):
        return {key: value for key, value in part.items() if key != "total_steps"}
    return part


def _validate_end(
    trainer: pl.Trainer,
    task: SeparationTask,
    data: SeparationData,
    callbacks: tuple[ProgressReport, BestCheckpoint, ResumeCheckpoint],
) -> None:
    """Validate the last step if that was not done, and save the result, so that it is not done again."""
    report, best, last = callbacks
    if report.validated_step != trainer.global_step:
        trainer.validate(task, datamodule=data, verbose=False)
        if trainer.is_global_zero:
            last.update([report, best])


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
    """The number of optimiser steps of a checkpoint."""
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
    )
    return trainer


def _fit(trainer: pl.Trainer, task: SeparationTask, data: SeparationData, resume: Path | None) -> None:
    try:
        with interruptible():
            trainer.fit(task, datamodule=data, ckpt_path=resume, weights_only=True)
    except MisconfigurationException as error:
        raise ValueError(str(error)) from None


def _about(job: Training, trainer: pl.Trainer, report: ProgressReport, improvement: float | None) -> dict[str, Any]:
    """The training summary saved with the weights."""
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
            "hours_of_audio": report.audio_seconds / 3600,
            "seconds": report.seconds,
            "device": str(trainer.strategy.root_device),
            "start": config.training.start,
            "objective": plain(config.objective),
            "optimizer": plain(config.optimizer),
            "data": plain(config.train_data),
        },
        "metrics": metrics,
    }
