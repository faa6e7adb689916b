"""The evaluations that a line of Hydra overrides asks for."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from torchsep.engine.config import compose
from torchsep.engine.evaluate.evaluation import Evaluation
from torchsep.engine.separator_choice import chosen_separator
from torchsep.resources import resource_folder
from torchsep.separators import Separator

__all__ = ["evaluations"]

_SEPARATOR = "separator"


def evaluations(overrides: Sequence[str], *, several: bool = False) -> list[Evaluation]:
    """An evaluation for every combination of the values given.

    ``separator`` may be whatever ``torchsep separate -s`` takes, also a checkpoint; ``separator.NAME=value`` sets an
    argument of it. All else is the configuration's.

    Args:
        overrides: Hydra's, as ``separator=repet data=scenes separator.min_period=1.5``.
        several: whether an override may list several values, separated by commas.

    Raises:
        ValueError: if an override cannot be read, names nothing, or lists values and only one is allowed.

    Example:
        >>> [job.label for job in evaluations(["separator=hpss,repet", "data=scenes"], several=True)]
        ['hpss', 'repet']
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise ValueError(" ".join(str(error).split())) from None
    jobs = [_evaluation(chosen, swept) for chosen, swept in _combinations(parsed, several)]
    labels = [job.label for job in jobs]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise ValueError(f"every combination must be another, got {twice} twice")
    return jobs


def _combinations(parsed: Sequence[Override], several: bool) -> list[tuple[list[Override], set[str]]]:  # noqa: FBT001
    """Overrides of one value each, and which keys differ from one combination to another."""
    choices: list[list[Override]] = []
    swept: set[str] = set()
    parser = OverridesParser.create()
    for override in parsed:
        if not override.is_sweep_override():
            choices.append([override])
            continue
        if not several:
            raise ValueError(f"several values need -m, got {override.input_line}")
        key = (override.input_line or "").partition("=")[0]
        swept.add(override.key_or_group)
        choices.append([parser.parse_override(f"{key}={value}") for value in override.sweep_string_iterator()])
    return [(list(combination), swept) for combination in itertools.product(*choices)]


def _evaluation(overrides: Sequence[Override], swept: set[str]) -> Evaluation:
    choice, parameters, rest, label = "hpss", OmegaConf.create(), [], []
    for override in overrides:
        key = override.key_or_group
        if key == _SEPARATOR:
            choice = str(override.value())
        elif key.startswith(f"{_SEPARATOR}."):
            OmegaConf.update(parameters, key.partition(".")[2], override.value())
        else:
            rest.append(override.input_line or "")
        if key in swept and key != _SEPARATOR:
            label.append(f"{key.removeprefix(f'{_SEPARATOR}.')}={override.get_value_string()}")
    try:
        config = compose(rest)
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(" ".join(str(error).split())) from None
    if config.get("data") is None:
        raise ValueError(f"data must be chosen, as in data=scenes; there are {', '.join(_data_sets())}")
    given: Any = OmegaConf.to_container(parameters, resolve=True)
    separator = chosen_separator(choice, given, with_sources=True)
    name = _checkpoint_name(choice) if isinstance(separator, Separator) else separator["name"]
    return Evaluation(separator, ",".join((name, *label)).replace("/", "_"), config)


def _checkpoint_name(choice: str) -> str:
    path = Path(choice)
    return path.absolute().parent.name if path.name == "model.safetensors" else path.stem


def _data_sets() -> list[str]:
    return sorted(path.stem for path in (resource_folder("configs") / "data").glob("*.yaml"))
