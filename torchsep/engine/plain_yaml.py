"""YAML as plain values: numbers, words, lists and mappings, without anything that refers, expands or builds."""

import math
import re
from typing import Any

import yaml

__all__ = ["parse_yaml"]

_LONGEST = 2**16  # characters
_DEEPEST = 16


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # untyped
    """Scalars of the YAML 1.2 core schema: ``yes``, ``0x10``, ``1:30`` and dates are words, and ``010`` is ten."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as in the base class


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | float:
    text = str(loader.construct_scalar(node))
    return int(text) if re.fullmatch(r"[-+]?[0-9]+", text) else float(text)


_NUMBER = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(true|True|TRUE|false|False|FALSE)\Z"), None)
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(~|null|Null|NULL|)\Z"), None)
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(rf"{_NUMBER}\Z"), None)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


def parse_yaml(text: str, name: str) -> Any:
    """The values of a text in YAML.

    Args:
        text: at most 65536 characters, nested at most 16 levels deep, without anchors, aliases and tags.
        name: of the text, for error messages.

    Raises:
        ValueError: if the text is not such YAML, or a number in it is not finite.

    Example:
        >>> parse_yaml("{cutoff_hz: 0100, power: 1e1, mode: on, names: [a, 1:30]}", "x")
        {'cutoff_hz': 100, 'power': 10.0, 'mode': 'on', 'names': ['a', '1:30']}
    """
    if len(text) > _LONGEST:
        raise ValueError(f"{name} must have at most {_LONGEST} characters, got {len(text)}")
    try:
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
                raise ValueError(f"{name} must have no anchors, aliases or tags, got one in line {_line(event)}")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise ValueError(
                    f"{name} must be nested at most {_DEEPEST} levels deep, got more in line {_line(event)}"
                )
        values = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        raise ValueError(f"{name} is not valid YAML: {' '.join(str(error).split())}") from None
    _check_finite(values, name)
    return values


def _line(event: yaml.Event) -> int:
    return int(event.start_mark.line) + 1


def _check_finite(value: Any, name: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must have finite numbers, got {value}")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_finite(item, name)
