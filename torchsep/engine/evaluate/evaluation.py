"""Separators evaluated on data sets with known sources, by ``Trainer.test``."""

import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from torch.utils.data import DataLoader, Subset

import torchsep
from torchsep.checks import check_choice, check_integer
from torchsep.engine.config import instance, plain
from torchsep.engine.evaluate.fingerprint import fingerprint
from torchsep.engine.evaluate.measures import MEASURES, MixtureScores, check_measures, too_few_estimates
from torchsep.engine.evaluate.result_reader import Run, outcome_of, read_run
from torchsep.engine.evaluate.result_writer import begin_run, check_table
from torchsep.engine.evaluate.scorer import EvaluationOptions, NumberedItems, Scorer
from torchsep.engine.lightning import interruptible, quiet
from torchsep.engine.separation_task import SeparationTask
from torchsep.engine.separator_choice import SeparatorChoice
from torchsep.separators import Separator

__all__ = ["Evaluation", "News", "run_evaluation"]

News = int | str | Mapping[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated, and where its results are written.

    Args:
        choice: of the separator.
        label: of its results; the name of a folder in the output.
        config: a composed configuration with ``data``, ``trainer`` and ``evaluation``.
        output: the folder of all results on the data, those of one table.
        mixture_scores: scores of the unprocessed mixtures, shared by the evaluations of a sweep on the same data.
    """

    choice: SeparatorChoice
    label: str
    config: DictConfig
    output: Path
    mixture_scores: MixtureScores

    @property
    def folder(self) -> Path:
        """The folder of the results of the separator."""
        return self.output / self.label

    @cached_property
    def items(self) -> Any:
        """The data set."""
        return instance(self.config.data, "data")

    @cached_property
    def separator(self) -> Separator | None:
        """The separator for the first item that can be read; None if there is no such item."""
        for number in range(len(self.items)):
            try:
                item = self.items[number]
            except (OSError, ValueError):  # a result of its own
                continue
            return self.choice.at(int(item["sample_rate"]), len(item["sources"]))
        return None

    @cached_property
    def options(self) -> EvaluationOptions:
        """How items are scored."""
        config = self.config.evaluation
        names = tuple(config.metrics)
        check_measures(names)
        check_choice(config.match, ("auto", "names", "best"), "evaluation.match")
        check_integer(config.save_audio, "evaluation.save_audio", at_least=0)
        check_integer(config.num_workers, "evaluation.num_workers", at_least=0)
        return EvaluationOptions(names, config.match, config.save_audio, config.num_workers)

    @cached_property
    def description(self) -> dict[str, Any]:
        """What determines the results."""
        return {
            "separator": self.choice.config,
            "data": plain(self.config.data),
            "metrics": {name: MEASURES[name].definition for name in self.options.metrics},
            "match": self.options.match,
            "label": self.label,
            "sources": list(self.items.names),
            "fingerprint": {} if self.separator is None else fingerprint(self.choice, self.separator),
        }

    @property
    def role(self) -> str:
        """``method``, ``baseline`` or, if it is given the true sources, ``oracle``."""
        if "sources" in (self.separator or self.choice.kind).requires:
            return "oracle"
        return "baseline" if self.choice.kind.is_baseline else "method"

    def check(self) -> None:
        """Build the data set and the separator.

        Raises:
            ValueError: if one of them cannot be built, the separator has too few estimates for every item, or the
                output holds results that do not belong into one table with these.
        """
        check_table(self.folder, self.description)
        if self.separator is not None:
            self.choice.check(has_sources=True, built=self.separator)
            self._check_counts(self.separator.sample_rate)

    def _check_counts(self, sample_rate: int) -> None:
        """Raise if all items have more sources than the separator has estimates: all sources are to be scored."""
        for names in dict.fromkeys(self.items.names_of(number) for number in range(len(self.items))):
            estimates = self.choice.at(sample_rate, len(names)).names
            if not estimates or len(estimates) >= len(names):  # unknown before the call, or enough
                return
        raise ValueError(f"{self.choice.label}: {too_few_estimates(estimates, names)}")


def run_evaluation(evaluation: Evaluation, receive: Callable[[News], None] = lambda _: None) -> Run:
    """The results of a separator on every item, including those of an earlier run that was interrupted.

    Results of other weights, or of user-defined code that has changed since, are removed and scored again.

    Args:
        evaluation: what to evaluate.
        receive: called with the number of items to score, then with each result as it comes; with messages too.

    Raises:
        ValueError: if the configuration is wrong, or the output holds results of something else.
        KeyboardInterrupt: if interrupted; all results so far are on disk.
    """
    config = evaluation.config
    evaluation.check()
    items, folder = evaluation.items, evaluation.folder
    if config.overwrite and folder.exists():
        shutil.rmtree(folder)
    removed = begin_run(folder, evaluation.description, {"role": evaluation.role, **_circumstances()})
    if removed:
        receive(f"{evaluation.label} has other weights or code than before: {removed} items are scored again")
    run = read_run(folder)
    outcomes = dict(run.outcomes)
    remaining = [number for number, id_ in enumerate(items.ids) if id_ not in outcomes or outcomes[id_].error]
    receive(len(remaining))

    def collect(record: Mapping[str, Any]) -> None:
        outcome = outcome_of(record, evaluation.output)
        outcomes[outcome.id] = outcome
        receive(record)

    if remaining:
        _test(evaluation, remaining, collect)
    if config.trainer.devices != 1:  # the results came in other processes
        outcomes = read_run(folder).outcomes
    return replace(run, outcomes={id_: outcomes[id_] for id_ in items.ids if id_ in outcomes})


def _circumstances() -> dict[str, Any]:
    """What is recorded beside the results."""
    return {
        "torchsep": torchsep.__version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


class _Items(pl.LightningDataModule):
    """Items dealt out to the processes, one by one, as they differ in length."""

    def __init__(self, items: Any, remaining: list[int], num_workers: int) -> None:
        super().__init__()
        self.items = NumberedItems(items)
        self.remaining = remaining
        self.num_workers = num_workers

    def test_dataloader(self) -> Any:
        """The items of this process."""
        rank, world_size = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        own = Subset(self.items, self.remaining[rank::world_size])
        return DataLoader(own, batch_size=None, num_workers=self.num_workers)


def _test(
    evaluation: Evaluation,
    remaining: list[int],
    receive: Callable[[Mapping[str, Any]], None],
) -> None:
    options, trainer_config = evaluation.options, evaluation.config.trainer
    given: dict[str, Any] = {"use_distributed_sampler": False}  # each item is scored by one process
    if trainer_config.devices != 1:
        receive = _ignore
        if trainer_config.strategy == "auto":
            given["strategy"] = "ddp_spawn"
    scorer = Scorer(options, evaluation.folder, evaluation.mixture_scores, receive)
    with quiet(), interruptible():
        trainer = instance(trainer_config, "trainer", callbacks=[scorer], **given)
        task = SeparationTask(evaluation.choice, catch_errors=True)
        trainer.test(task, datamodule=_Items(evaluation.items, remaining, options.num_workers), verbose=False)


def _ignore(_: Any) -> None:
    """Drop results in a process other than the one that reports."""
