"""Which separator is meant by what a person typed."""

import inspect
from collections.abc import Mapping
from typing import Any

from torchsep import registry
from torchsep.checkpoint import load
from torchsep.engine.config import separator_config
from torchsep.separators import Separator

__all__ = ["chosen_separator", "has_open_number"]

_HIGHEST_RATE = 192000  # what is wrong here, as a cutoff above half of it, is wrong for every file


def chosen_separator(
    choice: str, parameters: Mapping[str, Any] | None = None, *, with_sources: bool = False
) -> Separator | dict[str, Any]:
    """A checkpoint's separator, or the name and arguments of one, built once so that mistakes are found at once.

    Args:
        choice: a registered name, a checkpoint, a YAML file, or ``module:Class``.
        parameters: arguments of it.
        with_sources: whether the true sources will be known.

    Raises:
        ValueError: if there is no such separator, an argument is wrong, or it needs what will not be known.

    Example:
        >>> chosen_separator("high_low_pass_filter", {"cutoff_hz": 500.0})
        {'name': 'high_low_pass_filter', 'cutoff_hz': 500.0}
    """
    checkpoint = _checkpoint(choice)
    if checkpoint is not None:
        if parameters:
            raise ValueError(f"parameters do not go with a checkpoint, got {', '.join(parameters)} for {choice}")
        return checkpoint
    config = {**separator_config(choice), **(parameters or {})}
    if "network" in config and config["network"] is None:
        raise ValueError(f"{choice} needs a trained network; give a checkpoint instead: a file, folder or name")
    if "sample_rate" in config:
        raise ValueError("sample_rate follows each file and must not be given")
    number = {"num_sources": 2} if with_sources and has_open_number(config) else {}
    built = registry.build(config, sample_rate=_HIGHEST_RATE, **number)
    if "estimates" in built.requires:
        raise ValueError(f"{choice} refines estimates; give it those of a separator by refine")
    if built.requires and not with_sources:
        needs = ", ".join(built.requires)
        raise ValueError(
            f"{choice} needs the true {needs}, which files alone do not hold; try `torchsep demo -s {choice}`"
        )
    return config


def has_open_number(config: Mapping[str, Any]) -> bool:
    """Whether a separator must be told a number of sources, which its configuration does not.

    Example:
        >>> has_open_number({"name": "mix_as_estimate"}), has_open_number({"name": "hpss"})
        (True, False)
    """
    parameter = registry.separator_class(config["name"]).arguments().get("num_sources")
    return parameter is not None and parameter.default is inspect.Parameter.empty and "num_sources" not in config


def _checkpoint(choice: str) -> Separator | None:
    """The checkpoint meant, if it is one: a registered name comes first, also where a folder is called so."""
    is_file = choice.startswith("hub:") or choice.endswith(".safetensors")
    is_described = choice.endswith((".yaml", ".yml")) or (":" in choice and not is_file)
    if is_described or choice in registry.list_separators():
        return None
    try:
        return load(choice)
    except FileNotFoundError:
        if is_file:
            raise
        return None
