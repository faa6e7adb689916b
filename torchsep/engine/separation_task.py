"""Separation as PyTorch Lightning runs it: training, validation, evaluation and inference in one module."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import pad
from torch.optim import Optimizer

from torchsep.configurable import registry_name
from torchsep.engine.lengths import without_padding
from torchsep.engine.objectives import Objective
from torchsep.engine.separator_choice import SeparatorChoice
from torchsep.metrics import improvement, match_estimates, si_sdr
from torchsep.separators import OverlapAdd, Separator

__all__ = ["IMPROVEMENT", "NonFiniteLossError", "SeparationTask"]

_GAIN = "si_sdr_improvement"
IMPROVEMENT = f"valid/{_GAIN}"

MakeOptimizer = Callable[[Iterable[Parameter]], Optimizer]
MakeScheduler = Callable[[Optimizer], Any]


class NonFiniteLossError(RuntimeError):
    """A training loss is NaN or infinite; the message names the items and the file with their batch."""


class SeparationTask(pl.LightningModule):
    """Fit, validate, test and predict with a separator.

    A batch is a mapping with ``mixture (B, C, T)``, ``sample_rate`` and, except for prediction, ``sources
    (B, S, C, T)`` and ``id``, as :class:`torchsep.data.SeparationData` gives them. For testing and prediction a single
    recording, ``(C, T)`` and ``(S, C, T)``, may take the place of a batch. For prediction it may have ``blocks``, an
    iterator over ``(C, t)``, in place of ``mixture``: it is separated in windows, and the result is an iterator too.

    ``predict`` and ``test`` pass the estimates to callbacks, which write or score them. Logged are ``train/loss``, and
    with an objective ``valid/loss`` (``test/loss``) and ``valid/si_sdr_improvement`` in dB: the SI-SDR of the estimates
    in their best order minus that of the mixture, the mean over the sources of each item and over items. Validation
    runs the separator once for each batch. Items that were padded to one batch are computed without their padding, so
    that the figures do not depend on the batch size.

    Args:
        separator: with parameters to fit; or a choice, which gives the separator for the sample rate of each batch.
        objective: computes the training loss of each item; None where nothing is fitted.
        optimizer: from parameters to an optimizer; Adam if None.
        scheduler: from the optimizer to a learning rate scheduler; constant learning rate if None.
        schedule: Lightning's options of the scheduler, such as ``{"interval": "step"}`` or ``{"monitor": ...}``.
        folder: where a batch with a non-finite loss is written; nowhere if None.
        catch_errors: whether an error on one batch of testing or prediction is passed to the callbacks in place of the
            estimates, instead of ending the run.

    Raises:
        ValueError: when it is fitted, if the separator has no parameters or there is no objective.
    """

    def __init__(
        self,
        separator: Separator | SeparatorChoice,
        objective: Objective | None = None,
        optimizer: MakeOptimizer | None = None,
        scheduler: MakeScheduler | None = None,
        schedule: Mapping[str, Any] | None = None,
        *,
        folder: Path | None = None,
        catch_errors: bool = False,
    ) -> None:
        super().__init__()
        self.separator = separator if isinstance(separator, Separator) else None
        self.choice = separator if isinstance(separator, SeparatorChoice) else None
        self.objective = objective
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.schedule = dict(schedule or {})
        self.folder = folder
        self.catch_errors = catch_errors

    def separator_for(self, batch: Mapping[str, Any]) -> Separator:
        """The separator for a batch: for its sample rate, its number of sources, and its window if it has one."""
        if self.choice is None:
            return self._own_separator()
        num_sources = batch["sources"].shape[-3] if "sources" in batch else None
        separator = self.choice.at(int(batch["sample_rate"]), num_sources, batch.get("window_duration"))
        return separator.to(self.device)

    def configure_optimizers(self) -> Any:
        """The optimizer of the parameters, and its scheduler."""
        separator = self._own_separator()
        parameters = [parameter for parameter in separator.parameters() if parameter.requires_grad]
        if not parameters:
            name, known = registry_name(type(separator)), ", ".join(separator.trainable_parameters)
            advice = f"; name some of {known} in trainable" if known else ""
            raise ValueError(f"separator must have parameters to fit, {name} has none{advice}")
        optimizer = (self.optimizer or torch.optim.Adam)(parameters)
        if self.scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.scheduler(optimizer), **self.schedule}}

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The mean loss of a batch."""
        if self.objective is None:
            raise ValueError("objective must be given to fit a separator, got None")
        separator, objective = self._own_separator(), self.objective
        (losses,) = without_padding(lambda part: (objective(separator, part),), batch)
        self._check_finite(losses, batch)
        loss = losses.mean()
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(losses), sync_dist=True)
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Log the loss of a batch and the improvement on it; the estimates in the order of the sources."""
        return {"estimates": self._score(batch, "valid")}

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> Any:
        """The estimates of a batch, for callbacks; with an objective, log what validation logs."""
        if self.objective is not None:
            return {"estimates": self._score(batch, "test")}
        return self._attempt(batch)

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> Any:
        """The estimates of a batch; of a recording in blocks, an iterator over those of consecutive parts."""
        return self._attempt(batch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the separator's configuration beside its weights."""
        checkpoint["torchsep"] = {"config": self._own_separator().config}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Resume a schedule of a fixed number of steps with the number that is configured now."""
        for state in checkpoint.get("lr_schedulers", ()):
            for name in ("total_steps", "_schedule_phases"):
                state.pop(name, None)

    def _own_separator(self) -> Separator:
        if self.separator is None:
            raise ValueError("separator must be a Separator to be fitted, got a choice")
        return self.separator

    def _attempt(self, batch: Mapping[str, Any]) -> Tensor | Iterator[Tensor] | Exception:
        """The estimates of a batch, or the error in their place."""
        if not self.catch_errors:
            return self._estimates(batch)
        if "error" in batch:
            return ValueError(batch["error"])
        try:
            return self._estimates(batch)
        except (OSError, ValueError, RuntimeError, MemoryError) as error:
            return error

    def _estimates(self, batch: Mapping[str, Any]) -> Tensor | Iterator[Tensor]:
        separator = self.separator_for(batch)
        if "blocks" in batch:
            if not isinstance(separator, OverlapAdd):
                raise ValueError(f"separator must work in windows on blocks, got {registry_name(type(separator))}")
            return separator.stream(block.to(self.device) for block in batch["blocks"])
        required = {name: batch[name] for name in separator.requires}
        estimates: Tensor = separator(batch["mixture"], **required)
        return estimates

    def _score(self, batch: Mapping[str, Any], stage: str) -> Tensor:
        """Log the loss and the improvement of a batch; the estimates in the order of the sources."""
        separator, length = self._own_separator(), batch["mixture"].shape[-1]
        if self.objective is None:
            raise ValueError("objective must be given to validate a separator, got None")
        objective = self.objective

        def scored(part: Mapping[str, Any]) -> tuple[Tensor, ...]:
            losses, estimates = objective.with_estimates(separator, part)
            ordered = match_estimates(si_sdr, estimates, part["sources"]).estimates
            gains = improvement(si_sdr, ordered, part["sources"], part["mixture"]).flatten(1)
            return (
                losses,
                gains.masked_fill(~gains.isfinite(), torch.nan).nanmean(1),
                pad(ordered, (0, length - ordered.shape[-1])),
            )

        losses, gains, ordered = without_padding(scored, batch)
        self.log(f"{stage}/loss", losses.mean(), batch_size=len(losses), sync_dist=True)
        count = int(gains.isfinite().sum())  # the SI-SDR of silent sources is not defined
        # Logged in any case, since devices wait for one another; without a defined item, with a weight of zero.
        self.log(f"{stage}/{_GAIN}", gains.nansum() / max(count, 1), prog_bar=True, batch_size=count, sync_dist=True)
        return ordered

    def _check_finite(self, losses: Tensor, batch: Mapping[str, Any]) -> None:
        wrong = ~losses.detach().isfinite()
        if not wrong.any():
            return
        ids = [name for name, is_wrong in zip(batch["id"], wrong.tolist(), strict=True) if is_wrong]
        where = ""
        if self.folder is not None:
            path = self.folder / f"non_finite_step_{self.global_step}_rank_{self.global_rank}.pt"
            values = {key: value for key, value in batch.items() if isinstance(value, (Tensor, list, int, str))}
            torch.save({**values, "losses": losses.detach()}, path)
            where = f"; the batch is in {path}"
        raise NonFiniteLossError(f"loss of {', '.join(ids)} is not finite at step {self.global_step}{where}")
