"""Scores of estimates against true sources, as a Lightning callback."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import Dataset

from torchsep import audio
from torchsep.engine.evaluate.measures import MixtureScores, matching, measure
from torchsep.engine.evaluate.result_writer import Results
from torchsep.functional import source_images
from torchsep.separators.bases.source_names import numbered_names

__all__ = ["EvaluationOptions", "NumberedItems", "Scorer"]


@dataclass(frozen=True)
class EvaluationOptions:
    """How items are scored, and what is saved of them.

    Args:
        metrics: names of metrics.
        match: how estimates are assigned to sources: ``auto``, ``names`` or ``best``.
        save_audio: number of items, the first ones, whose audio is written.
        num_workers: processes that read items.
    """

    metrics: tuple[str, ...]
    match: str = "auto"
    save_audio: int = 0
    num_workers: int = 0


class NumberedItems(Dataset[dict[str, Any]]):
    """Items with their number and source names; one that cannot be read is an ``error`` with its ``id``.

    Args:
        items: a data set with ``ids`` and ``names_of``.
    """

    def __init__(self, items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        try:
            return {**self.items[index], "number": index, "names": tuple(self.items.names_of(index))}
        except (OSError, ValueError) as error:
            return {"id": self.items.ids[index], "error": " ".join(str(error).split())}


class Scorer(pl.Callback):
    """Score the estimates of each tested item, and write the result at once.

    An error on one item is its result, and does not stop the others.

    Args:
        options: how items are scored.
        folder: where results are written.
        mixture_scores: scores of the unprocessed mixtures, shared by the separators of a sweep.
        receive: called with the result of each item.
    """

    def __init__(
        self,
        options: EvaluationOptions,
        folder: Path,
        mixture_scores: MixtureScores,
        receive: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self.options = options
        self.folder = folder
        self.mixture_scores = mixture_scores
        self.receive = receive
        self._started = 0.0

    def on_test_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Start the clock, with the separator built."""
        if "error" not in batch:
            with suppress(ValueError):  # reported by the step itself
                pl_module.separator_for(batch)
        _synchronise(pl_module.device)
        self._started = time.perf_counter()

    def on_test_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Score one item."""
        _synchronise(pl_module.device)
        seconds = time.perf_counter() - self._started
        try:
            if isinstance(outputs, Exception):
                raise outputs
            record = self._record(pl_module.separator_for(batch), outputs, batch, seconds)
        except (OSError, ValueError, RuntimeError, MemoryError) as error:
            record = {"id": batch["id"], "error": " ".join(str(error).split()) or type(error).__name__}
        Results(self.folder, trainer.global_rank).append(record)
        self.receive(record)

    def _record(self, separator: Any, estimates: Tensor, item: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        mixture, sources, names = item["mixture"], item["sources"], item["names"]
        rate = int(item["sample_rate"])
        estimate_names = separator.names or numbered_names(len(estimates))
        if "sources" in separator.requires:  # an oracle keeps the order of the true sources
            estimate_names = names
        estimates = source_images(estimates, mixture)
        chosen = matching(estimates, sources, estimate_names, names, self.options.match)
        baseline = self.mixture_scores.of(item["id"], self.options.metrics, sources, mixture, rate)
        scores = measure(self.options.metrics, estimates[chosen], sources, baseline, rate)
        record = {
            "id": item["id"],
            "sample_rate": rate,
            "duration": mixture.shape[-1] / rate,
            "seconds": seconds,
            "sources": {
                name: {"estimate": estimate_names[estimate], **values}
                for name, estimate, values in zip(names, chosen, scores, strict=True)
            },
        }
        if item["number"] < self.options.save_audio:
            record["audio"] = self._write(item, estimates, estimate_names)
        return record

    def _write(self, item: Mapping[str, Any], estimates: Tensor, estimate_names: Sequence[str]) -> dict[str, Any]:
        """Write the audio of an item, true and estimated; the paths relative to the output folder."""
        output, place, rate = self.folder.parent, _place(item["id"]), int(item["sample_rate"])
        references = [output / "references" / place / f"{name}.flac" for name in ("mixture", *item["names"])]
        if not all(path.exists() for path in references):
            true = torch.cat((item["mixture"][None], item["sources"])).cpu()
            audio.write_sources(references, true, rate, overflow="rescale")
        written = [self.folder / "audio" / place / f"{name}.flac" for name in estimate_names]
        audio.write_sources(written, estimates.cpu(), rate, overflow="rescale")
        mixture, *sources = (path.relative_to(output).as_posix() for path in references)
        return {
            "mixture": mixture,
            "references": dict(zip(item["names"], sources, strict=True)),
            "estimates": {path.stem: path.relative_to(output).as_posix() for path in written},
        }


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _place(identity: str) -> Path:
    """Where the audio of an item is written: its id as a path that stays below its folder."""
    parts = [part.replace(":", "_") for part in PurePosixPath(identity.replace("\\", "/")).parts]
    return Path(*[part for part in parts if part not in {"/", "..", "."}] or ["item"])
