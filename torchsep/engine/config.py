"""Configurations: composed by Hydra from the YAML files in ``configs``, and the objects that they describe."""

import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import hydra
import pytorch_lightning as pl
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.loggers import Logger
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Dataset

from torchsep import data, losses, networks, registry
from torchsep.checks import nearest
from torchsep.configurable import registry_name
from torchsep.engine import objectives
from torchsep.engine.overrides import parse_overrides, set_value
from torchsep.resources import resource_folder

__all__ = ["compose", "instance", "plain"]

# Arguments of these parts are checked when they are built.
_OPEN_PARTS = ("separator", "network")

# Classes that a configuration may name by `_target_`: these and their subclasses.
_KINDS = (Dataset, nn.Module, Optimizer, LRScheduler, pl.Trainer, pl.Callback, Logger, objectives.Objective)


def compose(overrides: Sequence[str] = (), *, separator: Mapping[str, Any] | None = None) -> DictConfig:
    """The configuration of a run, from ``configs/config.yaml`` and Hydra overrides.

    Where an override chooses another option of a group than an experiment does, such as ``network=dprnn``, the
    experiment's values for that group do not apply.

    Args:
        overrides: of Hydra; ``part.name=value`` sets any argument of a part, also one that is not in its preset.
        separator: name and arguments of the separator, instead of a preset.

    Raises:
        ValueError: if an override cannot be parsed or does not match the configuration; in one line.

    Example:
        >>> compose(["separator=repet", "separator.min_period=1.5"]).separator
        {'name': 'repet', 'min_period': 1.5}
    """
    _register_names()
    given = parse_overrides(overrides)
    for override in given:
        _check(override)
    choices = [override for override in given if _is_choice(override)]
    values = [override for override in given if _is_value(override)]
    others = [override for override in given if override not in (*choices, *values)]
    config = _composed([*choices, *others])
    for override in choices:
        if _differs_from_experiment(override, choices):
            place = override.package or override.key_or_group
            config[place] = _composed([override, *others])[place]
    if separator is not None:
        config.separator = dict(separator)
    for override in values:
        key = override.key_or_group
        is_open = override.is_add() or override.is_force_add() or key.startswith(_OPEN_PARTS)
        set_value(config, key, override.value(), None if is_open else _arguments(config, key))
    return config


def _composed(overrides: Sequence[Override]) -> DictConfig:
    lines = [override.input_line or "" for override in overrides]
    with (
        _one_line(),
        hydra.initialize_config_dir(str(resource_folder("configs")), version_base="1.3", job_name="torchsep"),
    ):
        return hydra.compose("config", overrides=lines)


def _is_choice(override: Override) -> bool:
    """Whether an override chooses an option of a group."""
    is_plain = not (override.is_delete() or override.is_force_add())
    return is_plain and (resource_folder("configs") / override.key_or_group).is_dir()


def _is_value(override: Override) -> bool:
    """Whether an override assigns a value."""
    return not (override.is_delete() or override.package or _is_choice(override))


def _check(override: Override) -> None:
    """Raise if an override has several values, or chooses an option of a group that does not exist."""
    if override.is_sweep_override():
        key = (override.input_line or "").partition("=")[0]
        raise ValueError(f"{override.input_line} has several values; quote one with commas: '{key}=\"...\"'")
    group, choice = override.key_or_group, override.value()
    if not _is_choice(override) or choice is None or isinstance(choice, (list, dict)):
        return
    files = (path.stem for path in (resource_folder("configs") / group).glob("*.yaml"))
    options = sorted({*(name for name in files if not name.startswith("_")), *_named_options(group)})
    if str(choice) not in options:
        hint = nearest(str(choice), options) or f"; there are {', '.join(options)}"
        raise ValueError(f"{group} must be one of the presets, got {str(choice)!r}{hint}")


def _differs_from_experiment(override: Override, choices: Sequence[Override]) -> bool:
    """Whether an override chooses another option of a group than the experiment does, if there is one."""
    if override.key_or_group == "experiment" or "experiment" not in {choice.key_or_group for choice in choices}:
        return False
    place = override.package or override.key_or_group
    own = _composed([choice for choice in choices if choice is not override]).get(place)
    alone = _composed([override]).get(place)
    names = [None if part is None else part.get("name", part.get("_target_")) for part in (own, alone)]
    return names[0] is not None and names[0] != names[1]


def _arguments(config: DictConfig, key: str) -> Mapping[str, Any] | None:
    """The arguments of what the parent of a key names, if they are known; anything goes if None."""
    parent = OmegaConf.select(config, key.rpartition(".")[0], throw_on_missing=False) if "." in key else config
    if not isinstance(parent, DictConfig):
        return {}
    name, target = parent.get("name"), parent.get("_target_")
    if name is None and target is None:
        return {}
    kind = _targets().get(_key(name)) if target is None else _class_of(str(target))
    if kind is None:
        return None
    parameters = inspect.signature(kind).parameters
    has_more = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return None if has_more else parameters


def instance(config: DictConfig, name: str, **arguments: Any) -> Any:
    """The object that a part of the configuration describes.

    A part names a data set, augmentation, objective or loss of this library by ``name``. Another class is named by
    Hydra's ``_target_``: a data set, module, objective, optimizer, scheduler, callback or logger. Functions of this
    library are returned with their arguments bound.

    Args:
        config: the part.
        name: of the part, for error messages.
        arguments: in addition to those of the configuration.

    Raises:
        ValueError: if required values are missing, or one is wrong; in one line.
        OSError: if the target raises one.

    Example:
        >>> instance(OmegaConf.create({"name": "scenes", "num_items": 2}), "data").num_items
        2
    """
    missing = sorted(str(key) for key in OmegaConf.missing_keys(config))  # nested keys with their path
    if missing:
        raise ValueError(f"{name} is missing required values: {' '.join(f'{key}=...' for key in missing)}")
    _check_targets(plain(config), name)
    try:
        return instantiate(_with_targets(plain(config)), _convert_="object", **arguments)
    except HydraException as error:
        cause = error.__cause__
        if isinstance(cause, (ValueError, OSError)):
            raise cause from None
        raise ValueError(f"{name} cannot be built: {' '.join(str(cause or error).split())}") from None


def plain(part: Any) -> Any:
    """A part of a configuration as dictionaries, lists and values, with interpolations resolved."""
    if isinstance(part, (DictConfig, ListConfig)):
        return OmegaConf.to_container(part, resolve=True)
    return part


@contextmanager
def _one_line() -> Iterator[None]:
    """Errors of Hydra and OmegaConf as a ValueError of one line."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(" ".join(str(error).partition("\nConfig search path:")[0].split())) from None


def _register_names() -> None:
    """Make every registered separator and network an option of its group, also without a preset of its own."""
    store, presets = ConfigStore.instance(), resource_folder("configs")
    for group in _OPEN_PARTS:
        for name in _named_options(group):
            if not (presets / group / f"{name}.yaml").is_file():
                store.store(name=name, group=group, node={"name": name})
    OmegaConf.register_new_resolver("default_split", _default_split, replace=True)


def _named_options(group: str) -> list[str]:
    """The options of a group that need no preset."""
    if group == "separator":
        return registry.list_separators()
    kinds = [getattr(networks, name) for name in networks.__all__] if group == "network" else []
    return [registry_name(kind) for kind in kinds if not inspect.isabstract(kind)]


def _default_split(_parent_: Any) -> str:
    """The split of a data set by its place in the configuration."""
    while _parent_ is not None:
        split = {"train_data": "train", "valid_data": "valid"}.get(str(_parent_._key()))  # noqa: SLF001
        if split is not None:
            return split
        _parent_ = _parent_._get_parent()  # noqa: SLF001
    return "test"


def _check_targets(node: Any, name: str) -> None:
    """Raise unless every ``_target_`` is a class that a configuration may build."""
    for item in node if isinstance(node, list) else node.values() if isinstance(node, dict) else ():
        _check_targets(item, name)
    target = node.get("_target_") if isinstance(node, dict) else None
    if target is None:
        return
    kind = _class_of(str(target))
    if not (inspect.isclass(kind) and issubclass(kind, _KINDS)):
        kinds = "a data set, module, objective, optimizer, scheduler, trainer, callback or logger"
        raise ValueError(f"_target_ in {name} must be the class of {kinds}, got {target!r}")


def _class_of(target: str) -> Any:
    """What a dotted path names; None if it cannot be imported."""
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name, None)
    except (ImportError, ValueError):
        return None


@cache
def _targets() -> dict[str, Any]:
    """What a configuration can name: data sets, augmentations, losses and objectives; keys without underscores."""
    modules = (data, losses, objectives)
    return {_key(name): getattr(module, name) for module in modules for name in module.__all__}


def _key(name: Any) -> str:
    """A name for comparison: ``WSJ0Mix``, ``wsj0_mix`` and ``wsj0mix`` are the same."""
    return str(name).replace("_", "").lower()


def _with_targets(node: Any) -> Any:
    """A configuration with ``name`` replaced by Hydra's ``_target_`` where it names something."""
    if isinstance(node, list):
        return [_with_targets(item) for item in node]
    if not isinstance(node, dict):
        return node
    values = {key: _with_targets(value) for key, value in node.items()}
    target = _targets().get(_key(values.get("name")))
    if target is None:
        return values
    del values["name"]
    partial = {} if inspect.isclass(target) else {"_partial_": True}
    return {"_target_": f"{target.__module__}.{target.__qualname__}", **partial, **values}
