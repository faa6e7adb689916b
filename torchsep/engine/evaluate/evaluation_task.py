"""One item of a data set after another through a separator, scored against its true sources."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from torchsep import audio, registry
from torchsep.engine.evaluate.measures import matching, measure
from torchsep.engine.evaluate.result_writer import Results
from torchsep.engine.separate.windows import at_rate
from torchsep.engine.separator_choice import has_open_number
from torchsep.separators import Separator
from torchsep.separators.bases.source_names import numbered_names

__all__ = ["EvaluationOptions", "EvaluationTask"]


@dataclass(frozen=True)
class EvaluationOptions:
    """How items are scored, and what is kept of them.

    Args:
        metrics: names of measures.
        match: how estimates are given to sources: ``auto``, ``names`` or ``best``.
        save_audio: of how many items, the first ones, the audio is written.
        num_workers: processes that read items.
    """

    metrics: tuple[str, ...]
    match: str = "auto"
    save_audio: int = 0
    num_workers: int = 0


class _Numbered(Dataset[dict[str, Any]]):
    """Items with their number and the names of their sources; what cannot be read is an error beside its id."""

    def __init__(self, items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        try:
            return {**self.items[index], "number": index, "names": tuple(self.items.names_of(index))}
        except (OSError, ValueError) as error:
            return {"id": self.items.ids[index], "error": " ".join(str(error).split())}


class EvaluationTask(pl.LightningModule):
    """Tests by separating items and writing what they score, each as soon as it is known.

    A separator given by its configuration is built for the sample rate of each item, and for as many sources as it
    has where the configuration leaves that open; one with parameters of its own works at its own rate.

    Args:
        separator: a separator, or the name and arguments of one, without the sample rate.
        items: a data set with ``ids`` and ``names_of``.
        remaining: numbers of the items to score.
        scoring: how.
        folder: where results are written.
        receive: called with the result of each item.
    """

    def __init__(
        self,
        separator: Separator | Mapping[str, Any],
        items: Any,
        remaining: Sequence[int],
        scoring: EvaluationOptions,
        folder: Path,
        receive: Callable[[Mapping[str, Any]], None],
    ) -> None:
        super().__init__()
        self.separator = separator
        self.items = items
        self.remaining = list(remaining)
        self.scoring = scoring
        self.folder = folder
        self.receive = receive
        self._built: dict[tuple[int, int | None], Separator] = {}

    def test_dataloader(self) -> Any:
        """The items of this process, one by one: they differ in length."""
        own = self.remaining[self.trainer.global_rank :: self.trainer.world_size]
        workers = self.scoring.num_workers
        return DataLoader(Subset(_Numbered(self.items), own), batch_size=None, shuffle=False, num_workers=workers)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Score one item; what goes wrong with it is its result, and does not stop the others."""
        if "error" in batch:
            record = {"id": batch["id"], "error": batch["error"]}
        else:
            try:
                record = self._record(batch)
            except (OSError, ValueError, RuntimeError, MemoryError) as error:
                record = {"id": batch["id"], "error": " ".join(str(error).split()) or type(error).__name__}
        Results(self.folder, self.trainer.global_rank).append(record)
        self.receive(record)

    def _record(self, item: dict[str, Any]) -> dict[str, Any]:
        mixture, sources, names = item["mixture"], item["sources"], item["names"]
        rate = int(item["sample_rate"])
        separator = self._at(rate, len(sources))
        required = {"sources": sources} if "sources" in separator.requires else {}
        self._wait()
        began = time.perf_counter()
        estimates = separator(mixture, **required)
        self._wait()
        seconds = time.perf_counter() - began
        estimate_names = separator.names or numbered_names(len(estimates))
        if required:  # an oracle keeps the order of what it was given
            estimate_names = names
        chosen = matching(estimates, sources, estimate_names, names, self.scoring.match)
        pairs = [(number, estimate) for number, estimate in enumerate(chosen) if estimate >= 0]
        scores = measure(
            self.scoring.metrics,
            estimates[[estimate for _, estimate in pairs]],
            sources[[number for number, _ in pairs]],
            mixture,
            rate,
        )
        record = {
            "id": item["id"],
            "sample_rate": rate,
            "duration": mixture.shape[-1] / rate,
            "seconds": seconds,
            "sources": {
                names[number]: {"estimate": estimate_names[estimate], **values}
                for (number, estimate), values in zip(pairs, scores, strict=True)
            },
        }
        if item["number"] < self.scoring.save_audio:
            record["audio"] = self._write(item, estimates, estimate_names)
        return record

    def _at(self, rate: int, num_sources: int) -> Separator:
        """The separator for items of a sample rate in Hz and a number of sources."""
        if isinstance(self.separator, Separator):
            key: tuple[int, int | None] = rate, None
            if key not in self._built:
                self._built[key] = at_rate(self.separator, rate).eval()
        else:
            is_open = has_open_number(self.separator)
            key = rate, num_sources if is_open else None
            if key not in self._built:
                given = {"num_sources": num_sources} if is_open else {}
                self._built[key] = registry.build(self.separator, sample_rate=rate, **given).eval()
        return self._built[key].to(self.device)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _write(self, item: dict[str, Any], estimates: Tensor, estimate_names: Sequence[str]) -> dict[str, Any]:
        """Write the audio of an item, true and estimated, and say where it lies in the output folder."""
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


def _place(identity: str) -> Path:
    """Where the audio of an item lies: its id as a path that stays below its folder."""
    parts = [part.replace(":", "_") for part in PurePosixPath(identity.replace("\\", "/")).parts]
    return Path(*[part for part in parts if part not in {"/", "..", "."}] or ["item"])
