"""Runs described by the YAML files in ``configs``."""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from torchsep import registry
from torchsep.configurable import Configurable, registry_name
from torchsep.resources import resource_folder
from torchsep.separators import Separator

__all__ = ["compose", "instance", "separator_config"]


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """The configuration of a run, from ``configs/config.yaml`` and Hydra overrides.

    Example:
        >>> compose(["separator=repet", "+separator.min_period=1.5"]).separator
        {'name': 'repet', 'min_period': 1.5}
    """
    with initialize_config_dir(str(resource_folder("configs")), version_base="1.3", job_name="torchsep"):
        return hydra_compose("config", overrides=list(overrides))


def instance(config: DictConfig, name: str, **arguments: Any) -> Any:
    """What a part of the configuration describes.

    Args:
        config: with a ``_target_``.
        name: of the part, for messages.
        arguments: beside those of the configuration.

    Raises:
        ValueError: if it says too little or something wrong; in one line, not in a chain of Hydra's.
        OSError: if the target raises one.
    """
    missing = sorted(str(key) for key in OmegaConf.missing_keys(config))  # with the names of what they are in
    if missing:
        given = " ".join(f"{key}=..." for key in missing)
        raise ValueError(f"{name} must be told more: {given}")
    try:
        return instantiate(config, _convert_="object", **arguments)
    except HydraException as error:
        cause = error.__cause__
        if isinstance(cause, (ValueError, OSError)):
            raise cause from None
        raise ValueError(f"{name} cannot be made: {' '.join(str(cause or error).split())}") from None


def separator_config(choice: str) -> dict[str, Any]:
    """The name and arguments of a separator, all but those that depend on the mixture.

    Args:
        choice: a registered name, whose preset in ``configs/separator`` is taken; a YAML file of name and arguments;
            or ``module:Class`` or ``file.py:Class`` for a class of your own, which is imported and registered.

    Raises:
        FileNotFoundError: if the YAML or Python file is missing.
        ValueError: if there is no such separator, or the file does not describe one.

    Example:
        >>> separator_config("high_low_pass_filter")
        {'name': 'high_low_pass_filter', 'cutoff_hz': 100.0}
    """
    if choice.endswith((".yaml", ".yml")):
        return _read(Path(choice))
    if ":" in choice:
        return {"name": registry_name(_imported(choice))}
    registry.separator_class(choice)
    if not (resource_folder("configs") / "separator" / f"{choice}.yaml").is_file():
        return {"name": choice}
    return _plain(compose([f"separator={choice}"]).separator)


def _plain(config: DictConfig) -> dict[str, Any]:
    values = OmegaConf.to_container(config, resolve=True)
    return {str(key): value for key, value in values.items()} if isinstance(values, dict) else {}


def _read(path: Path) -> dict[str, Any]:
    """A separator described in a YAML file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; it should hold a separator's name and arguments")
    import yaml

    try:
        config = OmegaConf.load(path)
    except (OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(config, DictConfig) or not isinstance(config.get("name"), str):
        raise ValueError(f"{path} must hold a mapping with the name of a separator and its arguments")
    registry.separator_class(config.name)
    return _plain(config)


def _imported(choice: str) -> type[Configurable]:
    """A class of the user's own, imported and registered."""
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
