"""Overrides of a configuration, as they are typed: ``key=value`` in the grammar of Hydra."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from torchsep.checks import nearest

__all__ = ["parse_overrides", "set_value"]

_ASSIGNMENT = re.compile(r"(\+{0,2}[\w.@/:-]+)=(.*)", re.DOTALL)


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Hydra overrides, parsed. A value that is not in its grammar, such as many a path, is taken as it stands.

    Raises:
        ValueError: if one is not of the form ``key=value``.

    Example:
        >>> [override.value() for override in parse_overrides(["data.root=/music/[2020] R&B", "data.limit=3"])]
        ['/music/[2020] R&B', 3]
    """
    return [_parsed(text) for text in overrides]


def _parsed(text: str) -> Override:
    parser = OverridesParser.create()
    try:
        return parser.parse_override(text)
    except HydraException:
        match = _ASSIGNMENT.fullmatch(text)
        if match is None:
            raise ValueError(f"an override must be key=value, got {text!r}") from None
    key, value = match.groups()
    quoted = QuotedString(value, quote=Quote.double if "'" in value else Quote.single).with_quotes()
    try:
        return parser.parse_override(f"{key}={quoted}")
    except HydraException:
        raise ValueError(f"{key} cannot be read, got {value!r}; quote it: '{key}=\"...\"'") from None


def set_value(config: DictConfig, key: str, value: Any, known: Mapping[str, Any] | None) -> None:
    """Set a value of a configuration.

    Args:
        config: the whole configuration.
        key: with dots between its parts.
        value: new value.
        known: what else may be set beside the values that are there; anything if None.

    Raises:
        ValueError: if there is no such key, or the value is a word in place of a number or a truth value.
    """
    parent_key, _, name = key.rpartition(".")
    parent = OmegaConf.select(config, parent_key) if parent_key else config
    present = list(parent) if isinstance(parent, DictConfig) else []
    if known is not None and name not in {*present, *known, "name", "_target_"}:
        where = parent_key or "the configuration"
        if parent is None:
            raise ValueError(f"{parent_key} must be chosen before {key} can be set")
        names = list(dict.fromkeys([*map(str, present), *known]))
        hint = nearest(name, names) or f"; it has {', '.join(names)}"
        raise ValueError(f"{where} has no {name!r}{hint}")
    old = parent.get(name) if name in present and not OmegaConf.is_missing(parent, name) else None
    if isinstance(value, str) and "${" not in value and isinstance(old, (bool, int, float)):
        kind = "true or false" if isinstance(old, bool) else "a number"
        raise ValueError(f"{key} must be {kind}, got {value!r}")
    try:
        OmegaConf.update(config, key, value, force_add=True)
    except OmegaConfBaseException as error:
        raise ValueError(f"{key} cannot be set: {' '.join(str(error).split())}") from None
