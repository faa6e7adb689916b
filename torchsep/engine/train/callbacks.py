"""Callbacks of training: seeding, and messages and progress."""

import math
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from torchsep.data.seeding import generator_for
from torchsep.engine.separation_task import IMPROVEMENT

__all__ = ["ProgressReport", "StepSeeds"]


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


class ProgressReport(pl.Callback):
    """Report a run: the shapes of its first batch, loss and improvement at each validation, and its speed.

    Args:
        say: receives each message.
        progress: called after each step with the number of steps, their total if it is known, and the epoch.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        progress: Callable[[int, int | None, int], None] = lambda _done, _total, _epoch: None,
    ) -> None:
        self.say = say
        self.progress = progress
        self.validated_step = -1  # the last one after which there was a validation
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
        return {
            "audio_seconds": self.audio_seconds,
            "seconds": self.seconds,
            "validated_step": self.validated_step,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the totals."""
        self.audio_seconds, self.seconds = state_dict["audio_seconds"], state_dict["seconds"]
        self.validated_step = state_dict.get("validated_step", -1)
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
        if trainer.is_global_zero:
            self.progress(trainer.global_step, _total_steps(trainer), trainer.current_epoch)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Report loss and improvement."""
        if trainer.sanity_checking:
            return
        self.validated_step = trainer.global_step
        if not self._losses:
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


def _total_steps(trainer: pl.Trainer) -> int | None:
    """The number of steps of a run; None if it is limited by time or not at all."""
    total = trainer.estimated_stepping_batches
    return int(total) if math.isfinite(total) and total > 0 else None
