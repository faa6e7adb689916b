"""Callbacks of training: seeding, resumable checkpoints and progress messages."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from torchsep.data.seeding import generator_for
from torchsep.engine.separation_task import IMPROVEMENT

__all__ = ["ProgressReport", "ResumeCheckpoint", "StepSeeds"]


class StepSeeds(pl.Callback):
    """Seed the global generator before every step from the step number, so that a resumed run draws the same numbers.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Seed the generator of dropout and the like."""
        place = (self.seed, "step", trainer.current_epoch, batch_idx, trainer.global_rank)
        torch.manual_seed(generator_for(*place).initial_seed())


class ResumeCheckpoint(pl.Callback):
    """Write the state to resume from, atomically: every n steps, at the first step of an epoch, and at the end.

    It is written before a step, when everything that follows the previous one (validation, schedulers that monitor it)
    is done and need not be repeated. The learning curves so far are written too.

    Args:
        path: of the file.
        every: number of steps between two checkpoints.
    """

    def __init__(self, path: Path, every: int) -> None:
        self.path = path
        self.every = every
        self._step = -1
        self._writes = self._ends = False

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Write the state before a step."""
        step = trainer.global_step
        is_due = step % self.every == 0 or batch_idx == 0
        has_no_gradient = (
            batch_idx % trainer.accumulate_grad_batches == 0
        )  # accumulated from earlier batches, which is not saved
        if step and is_due and has_no_gradient and step != self._step:
            self._write(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """End the resuming state: Lightning would skip the schedulers at the end of a resumed epoch."""
        trainer.fit_loop.on_iteration_done()

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Write the last state, from which a run with more steps can be resumed."""
        self._ends = True
        self._write(trainer)
        self._ends = False

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

    def _write(self, trainer: pl.Trainer) -> None:
        self._step, self._writes = trainer.global_step, True
        for logger in trainer.loggers:
            logger.save()
        draft = self.path.with_name(f".{self.path.name}")
        trainer.save_checkpoint(draft)
        self._writes = False
        if trainer.is_global_zero:
            draft.replace(self.path)


class ProgressReport(pl.Callback):
    """Report a run: the shapes of its first batch, loss and improvement at each validation, and its speed.

    Args:
        say: receives each message.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.steps = 0  # optimiser steps of this session
        self._timed = 0  # those among them that were timed
        self.audio_seconds = 0.0  # of training audio, in all sessions of the run
        self.seconds = 0.0  # of training, in all sessions of the run
        self._before = 0.0
        self._began = time.perf_counter()
        self._waited = self._worked = 0.0
        self._mark: float | None = None
        self._first_step = 0
        self._known_step: int | None = None
        self._losses: list[Tensor] = []

    @property
    def waiting(self) -> float:
        """The fraction of the time spent waiting for the next batch."""
        return self._waited / max(self._waited + self._worked, 1e-9)

    @property
    def steps_per_second(self) -> float:
        """Optimiser steps per second, without validation."""
        return self._timed / max(self._waited + self._worked, 1e-9)

    def state_dict(self) -> dict[str, Any]:
        """The totals over all sessions of a run."""
        return {"audio_seconds": self.audio_seconds, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the totals."""
        self.audio_seconds, self.seconds = state_dict["audio_seconds"], state_dict["seconds"]
        self._before = self.seconds

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Report the number of trainable parameters."""
        self._began = time.perf_counter()
        self._first_step = trainer.global_step
        learned = sum(parameter.numel() for parameter in pl_module.separator.parameters() if parameter.requires_grad)
        self._say(
            trainer,
            f"{type(pl_module.separator).__name__}: {learned:,} trainable parameters on {trainer.strategy.root_device}",
        )

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Time the wait for the batch; report the shapes of the first one."""
        now = time.perf_counter()
        if self._mark is None:
            shapes = ", ".join(
                f"{key} {tuple(value.shape)}" for key, value in batch.items() if isinstance(value, Tensor)
            )
            self._say(trainer, f"first batch: {shapes}, at {batch['sample_rate']} Hz, the first item {batch['id'][0]}")
        elif self._known_step is not None:
            self._waited += now - self._mark
        self._mark = now

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Time the step."""
        now = time.perf_counter()
        if self._known_step is None:  # the first step includes the warm-up
            self._known_step = trainer.global_step
        elif self._mark is not None:
            self._worked += now - self._mark
        self.steps, self._timed = trainer.global_step - self._first_step, trainer.global_step - self._known_step
        self.seconds = self._before + now - self._began
        seconds = batch["mixture"].shape[0] * batch["mixture"].shape[-1] / batch["sample_rate"]
        self.audio_seconds += seconds * trainer.world_size
        self._mark = now
        self._losses.append(outputs["loss"].detach() * trainer.accumulate_grad_batches)  # Lightning divides by it

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Report loss and improvement."""
        if trainer.sanity_checking or not self._losses:
            return
        self._mark = time.perf_counter()
        loss = self._mean_loss()
        gain = trainer.callback_metrics.get(IMPROVEMENT, torch.nan)
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self._say(
            trainer,
            f"epoch {trainer.current_epoch}, step {trainer.global_step}: loss {loss:.3f}, valid loss "
            f"{trainer.callback_metrics.get('valid/loss', torch.nan):.3f}, SI-SDR improvement {gain:.2f} dB, "
            f"learning rate {rate:.2g}, {self.steps_per_second:.2f} steps/s",
        )

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Report the loss since the last validation, and the speed."""
        if self._losses:
            self._say(trainer, f"step {trainer.global_step}: loss {self._mean_loss():.3f}")
        speed = f"{self.steps} steps, {self.steps_per_second:.2f} a second"
        self._say(trainer, f"{speed}; {self.waiting:.1%} of the time waiting for data")

    def _mean_loss(self) -> float:
        """Of the batches since the last call."""
        mean = torch.stack(self._losses).mean().item()
        self._losses.clear()
        return mean

    def _say(self, trainer: pl.Trainer, line: str) -> None:
        if trainer.is_global_zero:
            self.say(line)
