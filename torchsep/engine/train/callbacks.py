"""What watches a training: its seeds, its first batch, its speed, and what it says on the way."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from torchsep.data.seeding import generator_for
from torchsep.engine.separation_task import IMPROVEMENT

__all__ = ["Announce", "ResumeCheckpoint", "StepSeeds"]


class StepSeeds(pl.Callback):
    """Seeds the random state before every step by the step alone, so that a resumed run draws as it would have.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Seed what dropout and the like draw from."""
        place = (self.seed, "step", trainer.current_epoch, batch_idx, trainer.global_rank)
        torch.manual_seed(generator_for(*place).initial_seed())


class ResumeCheckpoint(pl.Callback):
    """Writes, whole or not at all, the state to go on from: before every so many steps, and at the end.

    Before a step, what may have followed the last one is done and need not come again: validation, and schedules that
    go by it. The first step of an epoch is always among them. The curves so far are written too.

    Args:
        path: of the file.
        every: number of steps.
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
        has_no_gradient = batch_idx % trainer.accumulate_grad_batches == 0  # of batches before, which is not kept
        if step and is_due and has_no_gradient and step != self._step:
            self._write(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Have done with resuming: Lightning would leave out the schedules at the end of an epoch that was resumed."""
        trainer.fit_loop.on_iteration_done()

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Write the last state, from which a run with a later end goes on."""
        self._ends = True
        self._write(trainer)
        self._ends = False

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Let the counts come out right where the state is not one of those that Lightning writes."""
        loops = checkpoint["loops"]["fit_loop"]
        batches, epochs = loops["epoch_loop.batch_progress"], loops["epoch_progress"]
        if not self._writes or (self._ends and batches["is_last_batch"]):
            return
        if self._ends:  # within an epoch: as if the next step were about to be
            for count in ("current", "total"):
                batches[count]["ready"] += 1
                epochs[count]["processed"] -= 1
                epochs[count]["completed"] -= 1
            batches["is_last_batch"] = batches["current"]["ready"] >= trainer.num_training_batches
        if batches["is_last_batch"] or batches["current"]["ready"] % trainer.accumulate_grad_batches == 0:
            loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1  # which Lightning adds on resuming

    def _write(self, trainer: pl.Trainer) -> None:
        self._step, self._writes = trainer.global_step, True
        for logger in trainer.loggers:
            logger.save()
        draft = self.path.with_name(f".{self.path.name}")
        trainer.save_checkpoint(draft)
        self._writes = False
        if trainer.is_global_zero:
            draft.replace(self.path)


class Announce(pl.Callback):
    """Says what a run does: the shapes of its first batch, loss and gain at each validation, where its time went.

    Args:
        say: takes each line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.steps = 0  # optimised, and
        self._timed = 0  # those of them whose time is known
        self.audio_seconds = 0.0  # trained on, and
        self.seconds = 0.0  # that it took, in all sessions of the run
        self._before = 0.0
        self._began = time.perf_counter()
        self._waited = self._worked = 0.0
        self._mark: float | None = None
        self._first_step = 0
        self._known_step: int | None = None
        self._losses: list[Tensor] = []

    @property
    def waiting(self) -> float:
        """The share of the time between steps in which the next batch was not there."""
        return self._waited / max(self._waited + self._worked, 1e-9)

    @property
    def steps_per_second(self) -> float:
        """Optimised steps in a second, validation not counted."""
        return self._timed / max(self._waited + self._worked, 1e-9)

    def state_dict(self) -> dict[str, Any]:
        """What adds up over the sessions of a run."""
        return {"audio_seconds": self.audio_seconds, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.audio_seconds, self.seconds = state_dict["audio_seconds"], state_dict["seconds"]
        self._before = self.seconds

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Say what is learned."""
        self._began = time.perf_counter()
        self._first_step = trainer.global_step
        learned = sum(parameter.numel() for parameter in pl_module.separator.parameters() if parameter.requires_grad)
        self._say(
            trainer,
            f"{type(pl_module.separator).__name__}: {learned:,} parameters to learn on {trainer.strategy.root_device}",
        )

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Note how long the batch was waited for; of the first one say what it is."""
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
        """Note how long the step took."""
        now = time.perf_counter()
        if self._known_step is None:  # the first one also builds and warms up
            self._known_step = trainer.global_step
        elif self._mark is not None:
            self._worked += now - self._mark
        self.steps, self._timed = trainer.global_step - self._first_step, trainer.global_step - self._known_step
        self.seconds = self._before + now - self._began
        seconds = batch["mixture"].shape[0] * batch["mixture"].shape[-1] / batch["sample_rate"]
        self.audio_seconds += seconds * trainer.world_size
        self._mark = now
        self._losses.append(outputs["loss"].detach() * trainer.accumulate_grad_batches)  # by which Lightning divides

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Say where the run is."""
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
        """Say what the loss was since the last validation, and where the time went."""
        if self._losses:
            self._say(trainer, f"step {trainer.global_step}: loss {self._mean_loss():.3f}")
        speed = f"{self.steps} steps, {self.steps_per_second:.2f} a second"
        self._say(trainer, f"{speed}; data was waited for in {self.waiting:.1%} of the time")

    def _mean_loss(self) -> float:
        """Of the batches since it was last asked for."""
        mean = torch.stack(self._losses).mean().item()
        self._losses.clear()
        return mean

    def _say(self, trainer: pl.Trainer, line: str) -> None:
        if trainer.is_global_zero:
            self.say(line)
