"""A run: its configuration and its separator, from overrides and names."""

import copy
import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from torchsep import registry
from torchsep.checkpoint import load
from torchsep.checkpoint.construction import check_integers
from torchsep.configurable import parameter_shapes, registry_name
from torchsep.engine.config import compose, plain
from torchsep.engine.overrides import parse_overrides
from torchsep.engine.plain_yaml import parse_yaml
from torchsep.engine.separator_choice import SeparatorChoice, unknown_separator
from torchsep.separators import Separator

__all__ = ["Run", "configure", "imported_class"]


class Run(NamedTuple):
    """The configuration of a run, and the separator that it names."""

    config: DictConfig
    choice: SeparatorChoice


def configure(
    overrides: Sequence[str] = (),
    separator: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    high_band: str = "drop",
) -> Run:
    """The configuration of a run and its separator, composed once.

    Args:
        overrides: of Hydra; ``separator=`` may be anything that ``separator`` here can be.
        separator: a registered name, whose preset in ``configs/separator`` is used if there is one; a checkpoint; a
            YAML file of a name and arguments; or ``module:Class`` or ``file.py:Class`` for a class of your own, which
            is imported and registered.
        parameters: arguments of the separator, in addition to those of its preset or checkpoint. Those of a checkpoint
            may not change its class, its sample rate, or its weights: their names, shapes and values.
        high_band: of a checkpoint at a lower sample rate than the mixtures, as for :class:`Resampled`.

    Raises:
        FileNotFoundError: if a YAML, Python or checkpoint file is missing.
        ValueError: if there is no such separator, or an override or argument cannot be used.

    Example:
        >>> run = configure(["separator=repet", "separator.min_period=1.5", "data=scenes"])
        >>> run.choice.config, run.config.data.num_items
        ({'name': 'repet', 'min_period': 1.5}, 100)
    """
    given = parse_overrides(overrides)
    rest = [override.input_line or "" for override in given if not _is_separator(override)]
    chosen = separator or next((str(override.value()) for override in given if _is_separator(override)), None)
    checkpoint = None if chosen is None else _checkpoint(chosen)
    if chosen is None:
        config = compose(rest)
    elif checkpoint is not None:
        inside = [override for override in given if str(override.key_or_group).startswith("separator.")]
        changes = {
            **{str(override.key_or_group).partition(".")[2]: _changed_value(override, chosen) for override in inside},
            **(parameters or {}),
        }
        if changes:
            checkpoint = _rebuilt(checkpoint, changes, chosen)
        rest = [
            override.input_line or "" for override in given if override not in inside and not _is_separator(override)
        ]
        return Run(compose(rest), SeparatorChoice(checkpoint, _checkpoint_label(chosen), high_band))
    elif chosen.endswith((".yaml", ".yml")):
        config = compose(rest, separator=_read(Path(chosen)))
    else:
        name = registry_name(imported_class(chosen)) if ":" in chosen else chosen
        if name not in registry.list_separators():
            raise unknown_separator(name)
        config = compose([f"separator={name}", *rest])
    choice = SeparatorChoice({**plain(config.separator), **(parameters or {})}, high_band=high_band)
    if high_band != "drop" and not choice.loaded:
        rule = "be omitted for a separator that takes the sample rate of each file"
        raise ValueError(f"high_band must {rule}, got {high_band}; -p high_band={high_band} is for `resampled`")
    return Run(config, choice)


def _is_separator(override: Override) -> bool:
    """Whether an override chooses the separator."""
    return override.key_or_group == "separator" and not (override.is_delete() or override.package)


def _checkpoint(choice: str) -> Separator | None:
    """The checkpoint that a text names, if any; registered names take precedence over folders."""
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


def _changed_value(override: Override, chosen: str) -> Any:
    """The value that an override gives to an argument of a checkpoint."""
    if override.is_delete():
        raise ValueError(f"arguments of a checkpoint cannot be deleted, got {override.input_line} for {chosen}")
    return override.value()


def _rebuilt(checkpoint: Separator, changes: Mapping[str, Any], chosen: str) -> Separator:
    """The separator of a checkpoint with other arguments and the same weights.

    Args:
        checkpoint: separator as loaded.
        changes: new arguments; those of a part have dots in their names.
        chosen: what the checkpoint was named, for error messages.
    """
    config = copy.deepcopy(checkpoint.config)
    for key, value in changes.items():
        *parents, name = key.split(".")
        part = config
        for parent in parents:
            if part.get(parent) is None:
                part[parent] = {}
            part = part[parent]
            if not isinstance(part, dict):
                raise ValueError(f"{key} cannot be set: {parent} of {chosen} has no named parts")
        part[name] = value
    with torch.random.fork_rng(devices=()):
        rebuilt = registry.build(config)
    same = parameter_shapes(rebuilt) == parameter_shapes(checkpoint)
    if same:
        requested = rebuilt.config
        rebuilt.load_state_dict(checkpoint.state_dict())
        same = rebuilt.config == requested  # a learned hyper-parameter is a weight
    if not same or type(rebuilt) is not type(checkpoint) or rebuilt.sample_rate != checkpoint.sample_rate:
        rule = "parameters that change the weights, class or sample rate do not go with a checkpoint"
        raise ValueError(f"{rule}, got {', '.join(changes)} for {chosen}")
    return rebuilt.eval()


def _checkpoint_label(choice: str) -> str:
    """The name of a checkpoint: that of its file, or of the folder of a ``model.safetensors``."""
    if choice.startswith("hub:"):
        return choice.partition("/")[2].replace("/", "-")
    path = Path(os.path.abspath(choice))  # noqa: PTH100 - which removes `..`
    if path.name == "model.safetensors":
        return path.parent.name
    return path.stem if path.suffix == ".safetensors" else path.name


def _read(path: Path) -> dict[str, Any]:
    """A separator described in a YAML file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; it should hold a separator's name and arguments")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from None
    config = parse_yaml(text, str(path))
    if not isinstance(config, dict) or not isinstance(config.get("name"), str):
        raise ValueError(f"{path} must hold a mapping with the name of a separator and its arguments")
    if "${" in text:
        raise ValueError(f"{path} must hold plain values, got an interpolation (${{...}})")
    registry.separator_class(config["name"])
    check_integers(config)
    return config


def imported_class(choice: str) -> type[Separator]:
    """A user-defined class, ``module:Class`` or ``file.py:Class``, imported and registered."""
    where, _, name = choice.rpartition(":")
    try:
        if where.endswith(".py"):
            specification = importlib.util.spec_from_file_location(Path(where).stem, where)
            if specification is None or specification.loader is None or not Path(where).is_file():
                raise FileNotFoundError(f"{where} does not exist")
            module = importlib.util.module_from_spec(specification)
            sys.modules[specification.name] = module
            specification.loader.exec_module(module)
        else:
            sys.path.insert(0, str(Path.cwd()))  # as `python -m` does
            module = importlib.import_module(where)
    except (ImportError, SyntaxError) as error:
        raise ValueError(f"{where} cannot be imported: {error}") from None
    kind = getattr(module, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Separator)):
        raise ValueError(f"{choice} must be a subclass of Separator, got {kind!r}")
    return registry.register(kind)
