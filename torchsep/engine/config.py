"""Configurations: composed by Hydra from the YAML files in ``configs``, and the objects that they describe."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from torchsep import data, losses, networks, registry
from torchsep.configurable import registry_name
from torchsep.engine import objectives
from torchsep.resources import resource_folder

__all__ = ["compose", "instance", "parse_overrides", "plain"]

# Arguments of these parts need not be in their presets: `separator.beta=4` sets one that is not there.
_OPEN_PARTS = ("separator.", "network.")


def compose(overrides: Sequence[str] = (), *, separator: Mapping[str, Any] | None = None) -> DictConfig:
    """The configuration of a run, from ``configs/config.yaml`` and Hydra overrides.

    Args:
        overrides: of Hydra.
        separator: name and arguments of the separator, instead of a preset.

    Raises:
        ValueError: if an override cannot be parsed or does not match the configuration; in one line.

    Example:
        >>> compose(["separator=repet", "separator.min_period=1.5"]).separator
        {'name': 'repet', 'min_period': 1.5}
    """
    _register_names()
    with _one_line():
        given = parse_overrides(overrides)
        later = [override for override in given if _sets_an_argument(override)]
        lines = [override.input_line or "" for override in given if override not in later]
        with hydra.initialize_config_dir(str(resource_folder("configs")), version_base="1.3", job_name="torchsep"):
            config = hydra.compose("config", overrides=lines)
        if separator is not None:
            config.separator = dict(separator)
        for override in later:
            OmegaConf.update(config, override.key_or_group, override.value(), force_add=True)
    return config


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Hydra overrides, parsed.

    Raises:
        ValueError: if one cannot be parsed.
    """
    with _one_line():
        return OverridesParser.create().parse_overrides(list(overrides))


def instance(config: DictConfig, name: str, **arguments: Any) -> Any:
    """The object that a part of the configuration describes.

    A part names a data set, augmentation, objective or loss of this library by ``name``, and anything else by Hydra's
    ``_target_``. Functions are returned with their arguments bound.

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


def _sets_an_argument(override: Override) -> bool:
    """Whether an override sets an argument of an open part by plain assignment."""
    is_plain = not (override.is_add() or override.is_force_add() or override.is_delete())
    return is_plain and override.key_or_group.startswith(_OPEN_PARTS)


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
    kinds = [getattr(networks, name) for name in networks.__all__]
    separators = [("separator", name) for name in registry.list_separators()]
    choices = [("network", registry_name(kind)) for kind in kinds if not inspect.isabstract(kind)]
    for group, name in separators + choices:
        if not (presets / group / f"{name}.yaml").is_file():
            store.store(name=name, group=group, node={"name": name})


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
