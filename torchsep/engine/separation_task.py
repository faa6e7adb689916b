"""Training a separator, as PyTorch Lightning runs it."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from torchsep.configurable import registry_name
from torchsep.engine.train.objectives import Objective
from torchsep.metrics import improvement, match_estimates, si_sdr
from torchsep.separators import Separator

__all__ = ["IMPROVEMENT", "NonFiniteLossError", "SeparationTask"]

_GAIN = "si_sdr_improvement"
IMPROVEMENT = f"valid/{_GAIN}"

MakeOptimizer = Callable[[Iterable[Parameter]], Optimizer]
MakeScheduler = Callable[[Optimizer], Any]


class NonFiniteLossError(RuntimeError):
    """Training met a loss that is NaN or infinite; the message says of which items, and where their batch lies."""


class SeparationTask(pl.LightningModule):
    """Fits a separator to an objective, and tells by how much it improves mixtures that it did not see.

    It also validates, tests and predicts with separators that have nothing to learn.

    A batch is a mapping with ``mixture (B, C, T)``, ``sources (B, S, C, T)`` and ``id``, as
    :class:`torchsep.data.SeparationData` gives them. Logged are ``train/loss``, ``valid/loss``, and
    ``valid/si_sdr_improvement`` in dB: the SI-SDR of the estimates in their best order above that of the mixture, the
    mean over sources and items.

    Args:
        separator: with parameters to learn.
        objective: from the separator and a batch to a loss for each item.
        optimizer: from parameters to an optimizer; Adam if None.
        scheduler: from the optimizer to a scheduler; the learning rate stays as it is if None.
        schedule: what Lightning is to know of the scheduler, as ``{"interval": "step"}`` or ``{"monitor": ...}``.
        folder: where a batch is written whose loss is not finite; nowhere if None.

    Raises:
        ValueError: when it is to be fitted, and the separator has nothing to learn.
    """

    def __init__(
        self,
        separator: Separator,
        objective: Objective,
        optimizer: MakeOptimizer | None = None,
        scheduler: MakeScheduler | None = None,
        schedule: Mapping[str, Any] | None = None,
        folder: Path | None = None,
    ) -> None:
        super().__init__()
        self.separator = separator
        self.objective = objective
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.schedule = dict(schedule or {})
        self.folder = folder

    def configure_optimizers(self) -> Any:
        """The optimizer of what is to be learned, and its scheduler."""
        parameters = [parameter for parameter in self.separator.parameters() if parameter.requires_grad]
        if not parameters:
            name, known = registry_name(type(self.separator)), ", ".join(self.separator.trainable_parameters)
            advice = f"; name some of {known} in trainable" if known else ""
            raise ValueError(f"separator must have parameters to fit, {name} has none{advice}")
        optimizer = (self.optimizer or torch.optim.Adam)(parameters)
        if self.scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.scheduler(optimizer), **self.schedule}}

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The mean loss of a batch."""
        losses = self.objective(self.separator, batch)
        self._check_finite(losses, batch)
        loss = losses.mean()
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(losses), sync_dist=True)
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Log the loss of a batch, and what the separator gains on it."""
        self._score(batch, "valid")

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Log the same of a batch for testing."""
        self._score(batch, "test")

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The estimates of the sources in a batch."""
        return self._estimates(batch)

    def _score(self, batch: dict[str, Any], stage: str) -> None:
        losses = self.objective(self.separator, batch)
        sources, mixture = batch["sources"], batch["mixture"]
        ordered = match_estimates(si_sdr, self._estimates(batch), sources).estimates
        gained = improvement(si_sdr, ordered, sources, mixture)
        heard = gained.isfinite()  # a silent source has no ratio
        mean = gained.where(heard, 0.0).sum() / heard.sum().clamp(min=1)
        self.log(f"{stage}/loss", losses.mean(), batch_size=len(losses), sync_dist=True)
        self.log(f"{stage}/{_GAIN}", mean, prog_bar=True, batch_size=len(losses), sync_dist=True)

    def _estimates(self, batch: Mapping[str, Any]) -> Tensor:
        required = {name: batch[name] for name in self.separator.requires}
        estimates: Tensor = self.separator(batch["mixture"], **required)
        return estimates

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say beside the weights what they are the weights of."""
        checkpoint["torchsep"] = {"config": self.separator.config}

    def _check_finite(self, losses: Tensor, batch: Mapping[str, Any]) -> None:
        wrong = ~losses.detach().isfinite()
        if not wrong.any():
            return
        ids = [name for name, is_wrong in zip(batch["id"], wrong.tolist(), strict=True) if is_wrong]
        where = ""
        if self.folder is not None:
            path = self.folder / f"non_finite_step_{self.global_step}_rank_{self.global_rank}.pt"
            plain = {key: value for key, value in batch.items() if isinstance(value, (Tensor, list, int, str))}
            torch.save({**plain, "losses": losses.detach()}, path)
            where = f"; the batch is in {path}"
        raise NonFiniteLossError(f"loss of {', '.join(ids)} is not finite at step {self.global_step}{where}")
