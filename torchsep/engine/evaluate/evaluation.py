"""Separators on data sets with known sources, by ``Trainer.test``."""

import logging
import platform
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

import torchsep
from torchsep.checks import check_choice, check_integer
from torchsep.engine.config import instance
from torchsep.engine.evaluate.evaluation_task import EvaluationOptions, EvaluationTask
from torchsep.engine.evaluate.measures import MEASURES, check_measures
from torchsep.engine.evaluate.result_reader import Outcome, read_run
from torchsep.engine.evaluate.result_writer import begin_run
from torchsep.separators import Separator

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated, and where its results lie.

    Args:
        separator: a separator, or the name and arguments of one, without the sample rate.
        label: of its results; the name of a folder in the output.
        config: a composed configuration with ``data``, ``trainer``, ``evaluation`` and ``output``.
    """

    separator: Separator | Mapping[str, Any]
    label: str
    config: DictConfig

    @property
    def output(self) -> Path:
        """The folder of all results."""
        return Path(self.config.output or "outputs/evaluation")


def evaluate(
    evaluation: Evaluation, receive: Callable[[Mapping[str, Any] | int], None] = lambda _: None
) -> list[Outcome]:
    """The result of each item, those of an earlier run that was interrupted included.

    Args:
        evaluation: what to evaluate.
        receive: called with the number of items to score, then with each result as it comes.

    Raises:
        ValueError: if the configuration is wrong, or the output holds results of something else.
        KeyboardInterrupt: if interrupted; all results so far are on disk.
    """
    config = evaluation.config
    scoring = _scoring(config.evaluation)
    items = instance(config.data, "data")
    folder = evaluation.output / evaluation.label
    if config.overwrite and folder.exists():
        shutil.rmtree(folder)
    begin_run(folder, _description(evaluation, items, scoring), _circumstances())
    done = {outcome.id for outcome in read_run(folder).outcomes.values() if not outcome.error}
    remaining = [number for number, identity in enumerate(items.ids) if identity not in done]
    receive(len(remaining))
    if remaining:
        _run(evaluation.separator, items, remaining, scoring, folder, config.trainer, receive)
    outcomes = read_run(folder).outcomes
    return [outcomes[identity] for identity in items.ids if identity in outcomes]


def _scoring(config: DictConfig) -> EvaluationOptions:
    names = tuple(config.metrics)
    check_measures(names)
    check_choice(config.match, ("auto", "names", "best"), "evaluation.match")
    check_integer(config.save_audio, "evaluation.save_audio", at_least=0)
    check_integer(config.num_workers, "evaluation.num_workers", at_least=0)
    return EvaluationOptions(names, config.match, config.save_audio, config.num_workers)


def _description(evaluation: Evaluation, items: Any, scoring: EvaluationOptions) -> dict[str, Any]:
    """What decides the results."""
    separator = evaluation.separator
    config = separator.config if isinstance(separator, Separator) else dict(separator)
    return {
        "separator": config,
        "data": OmegaConf.to_container(evaluation.config.data, resolve=True),
        "metrics": {name: MEASURES[name].definition for name in scoring.metrics},
        "match": scoring.match,
        "label": evaluation.label,
        "sources": list(items.names),
    }


def _circumstances() -> dict[str, Any]:
    """What is worth knowing beside every figure."""
    return {
        "torchsep": torchsep.__version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _run(
    separator: Separator | Mapping[str, Any],
    items: Any,
    remaining: list[int],
    scoring: EvaluationOptions,
    folder: Path,
    trainer_config: DictConfig,
    receive: Callable[[Any], None],
) -> None:
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    given: dict[str, Any] = {"use_distributed_sampler": False}  # items are dealt out by the task, each once
    if trainer_config.devices != 1:
        receive = _ignore  # the processes are others
        if trainer_config.strategy == "auto":
            given["strategy"] = "ddp_spawn"
    trainer = instance(trainer_config, "trainer", **given)
    task = EvaluationTask(separator, items, remaining, scoring, folder, receive)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # Lightning's own use of torch
        warnings.filterwarnings("ignore", message=".*it is recommended to use.*devices=1.*")  # no item is dealt twice
        try:
            trainer.test(task, verbose=False)
        except SystemExit as stop:  # what Lightning makes of an interrupt
            raise KeyboardInterrupt from stop


def _ignore(_: Any) -> None:
    """Results of another process."""
