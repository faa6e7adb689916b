"""The checkpoints of a training run: the state to resume from, and the best one."""

import math
import signal
import threading
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch

__all__ = ["BestCheckpoint", "ResumeCheckpoint", "intact_checkpoint"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class ResumeCheckpoint(pl.Callback):
    """Write the state to resume from, atomically: every n steps, at the first step of an epoch, and at the end.

    It is written before a step, when everything that follows the previous one (validation, schedulers that monitor it)
    is done and need not be repeated. The learning curves so far are written too. The state before it is kept as
    ``previous.ckpt``. On SIGINT or SIGTERM the run ends before the next step, with its state written; on a second one
    at once.

    Args:
        path: of the file.
        every: number of steps between two checkpoints.
        say: receives a message.
    """

    def __init__(self, path: Path, every: int, say: Callable[[str], None] = lambda _: None) -> None:
        self.path = path
        self.every = every
        self.say = say
        self._step = -1
        self._writes = self._ends = self._stops = False
        self._handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Handle signals."""
        if threading.current_thread() is threading.main_thread() and trainer.world_size == 1:
            self._handlers = {number: signal.signal(number, self._receive) for number in _SIGNALS}

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Write the state before a step, and end the run if that is asked for."""
        step = trainer.global_step
        is_due = step % self.every == 0 or batch_idx == 0 or self._stops
        # Gradients that are accumulated from earlier batches are not saved.
        has_no_gradient = batch_idx % trainer.accumulate_grad_batches == 0
        if step and is_due and has_no_gradient and step != self._step:
            self._write(trainer)
        if self._stops and has_no_gradient:
            raise KeyboardInterrupt

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """End the resuming state: Lightning would skip the schedulers at the end of a resumed epoch."""
        trainer.fit_loop.on_iteration_done()

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Write the last state, from which a run with more steps can be resumed."""
        self._ends = True
        self._write(trainer)
        self._ends = False

    def teardown(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Restore the handling of signals."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def update(self, callbacks: Sequence[pl.Callback]) -> None:
        """Replace the states of callbacks in the file, after the end of the run."""
        saved = torch.load(self.path, map_location="cpu", weights_only=True)
        saved["callbacks"].update({callback.state_key: callback.state_dict() for callback in callbacks})
        draft = self.path.with_name(f".{self.path.name}")
        torch.save(saved, draft)
        draft.replace(self.path)

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Correct the counters where Lightning does not expect a checkpoint to be written."""
        loops = checkpoint["loops"]["fit_loop"]
        batches, epochs = loops["epoch_loop.batch_progress"], loops["epoch_progress"]
        if not self._writes or (self._ends and batches["is_last_batch"]):
            return
        if self._ends:  # within an epoch: as if the next step were about to begin
            for count in ("current", "total"):
                batches[count]["ready"] += 1
                epochs[count]["processed"] -= 1
                epochs[count]["completed"] -= 1
            batches["is_last_batch"] = batches["current"]["ready"] >= trainer.num_training_batches
        if batches["is_last_batch"] or batches["current"]["ready"] % trainer.accumulate_grad_batches == 0:
            loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1  # Lightning adds it again on resuming

    def _receive(self, number: int, frame: FrameType | None) -> None:
        """Ask the run to end before the next step; end it at once if that was asked for already."""
        if self._stops:
            raise KeyboardInterrupt
        self._stops = True
        self.say("stopping after this step; interrupt again to stop at once")

    def _write(self, trainer: pl.Trainer) -> None:
        self._step, self._writes = trainer.global_step, True
        for logger in trainer.loggers:
            logger.save()
        draft = self.path.with_name(f".{self.path.name}")
        trainer.save_checkpoint(draft)
        self._writes = False
        if trainer.is_global_zero:
            if self.path.is_file():
                self.path.replace(_previous(self.path))
            draft.replace(self.path)


class BestCheckpoint(pl.Callback):
    """Write a checkpoint, atomically, after each validation with the best score so far.

    Args:
        path: of the file.
        monitor: name of the logged metric, of which more is better.
    """

    def __init__(self, path: Path, monitor: str) -> None:
        self.path = path
        self.monitor = monitor
        self.score: float | None = None
        """The best score; None before the first validation in which it is defined."""

    def state_dict(self) -> dict[str, Any]:
        """The best score, with which a resumed run compares."""
        return {"score": self.score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from the best score."""
        self.score = state_dict["score"]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Write the checkpoint if it is the best."""
        score = float(trainer.callback_metrics.get(self.monitor, math.nan))
        if trainer.sanity_checking or math.isnan(score) or (self.score is not None and score <= self.score):
            return
        self.score = score
        draft = self.path.with_name(f".{self.path.name}")
        trainer.save_checkpoint(draft)
        if trainer.is_global_zero:
            draft.replace(self.path)


def intact_checkpoint(path: Path, say: Callable[[str], None] = lambda _: None) -> Path | None:
    """A checkpoint, or the one before it if the checksums of its parts are wrong; None if there is neither.

    Args:
        path: of the last checkpoint.
        say: receives a message if it is damaged.

    Raises:
        ValueError: if there are checkpoints, but all are damaged.
    """
    existing = [file for file in (path, _previous(path)) if file.is_file()]
    for file in existing:
        if _is_intact(file):
            if file != existing[0]:
                say(f"{existing[0]} is damaged")
            return file
    if existing:
        names = " and ".join(map(str, existing))
        raise ValueError(f"{names} must be checkpoints to resume from, but are damaged; overwrite=true starts again")
    return None


def _previous(path: Path) -> Path:
    return path.with_name(f"previous{path.suffix}")


def _is_intact(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError):
        return False
