"""The evaluations that Hydra overrides describe."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from torchsep.engine.config import plain
from torchsep.engine.evaluate.evaluation import Evaluation
from torchsep.engine.evaluate.measures import MixtureScores
from torchsep.engine.overrides import parse_overrides
from torchsep.engine.run import configure
from torchsep.resources import resource_folder

__all__ = ["evaluations"]

_SEPARATOR = "separator"


def evaluations(overrides: Sequence[str], *, several: bool = False) -> list[Evaluation]:
    """An evaluation for every combination of the values given.

    ``separator`` may be anything that ``torchsep separate -s`` takes, including a checkpoint; ``separator.NAME=value``
    sets an argument of it. Everything else is part of the configuration.

    Args:
        overrides: Hydra overrides, such as ``separator=repet data=scenes separator.min_period=1.5``.
        several: whether an override may list several values, separated by commas.

    Raises:
        ValueError: if an override cannot be parsed or is unknown, or lists several values where one is allowed.

    Example:
        >>> [evaluation.label for evaluation in evaluations(["separator=hpss,repet", "data=scenes"], several=True)]
        ['hpss', 'repet']
    """
    shared: dict[str, MixtureScores] = {}
    found = [_evaluation(chosen, swept, shared) for chosen, swept in _combinations(parse_overrides(overrides), several)]
    folders = [evaluation.folder for evaluation in found]
    duplicate = next((folder for folder in folders if folders.count(folder) > 1), None)
    if duplicate is not None:
        raise ValueError(f"combinations must differ, got {duplicate.name} twice")
    return found


def _combinations(parsed: Sequence[Override], several: bool) -> list[tuple[list[Override], set[str]]]:  # noqa: FBT001
    """Overrides of one value each, and the keys that vary."""
    choices: list[list[Override]] = []
    swept: set[str] = set()
    parser = OverridesParser.create()
    for override in parsed:
        if not override.is_sweep_override():
            choices.append([override])
            continue
        key = (override.input_line or "").partition("=")[0]
        if not several:
            raise ValueError(
                f"several values need -m, got {override.input_line}; quote a value with commas: '{key}=\"...\"'"
            )
        swept.add(override.key_or_group)
        choices.append([parser.parse_override(f"{key}={value}") for value in override.sweep_string_iterator()])
    return [(list(combination), swept) for combination in itertools.product(*choices)]


def _evaluation(overrides: Sequence[Override], swept: set[str], shared: dict[str, MixtureScores]) -> Evaluation:
    config, choice = configure([override.input_line or "" for override in overrides])
    if config.get("data") is None:
        raise ValueError(f"data must be chosen, as in data=scenes; there are {', '.join(_data_sets())}")
    choice.check(has_sources=True)
    label: list[str] = [choice.label]
    table: list[str] = []
    for override in overrides:
        key = override.key_or_group
        if key in swept and key != _SEPARATOR:
            is_argument = key.startswith(f"{_SEPARATOR}.")
            value = f"{key.removeprefix(f'{_SEPARATOR}.')}={override.get_value_string()}"
            (label if is_argument else table).append(value)
    output = Path(config.output or f"outputs/evaluation/{_data_label(config.data)}")
    if table:  # other data or settings make another table
        output /= _folder_name(table)
    scores = shared.setdefault(_key(config.data), MixtureScores())
    return Evaluation(choice, _folder_name(label), config, output, scores)


def _folder_name(parts: Sequence[str]) -> str:
    return ",".join(parts).replace("/", "_")


def _data_label(data: DictConfig) -> str:
    """The name of a data set, or of the class of one's own."""
    return str(data.get("name") or data.get("_target_", "data")).rpartition(".")[2]


def _key(data: Any) -> str:
    return json.dumps(plain(data), sort_keys=True, default=str)


def _data_sets() -> list[str]:
    names = (path.stem for path in (resource_folder("configs") / "data").glob("*.yaml"))
    return sorted(name for name in names if not name.startswith("_"))
