"""Descriptive metadata of a checkpoint: fields with the same meaning in every checkpoint."""

from collections.abc import Mapping
from typing import Any

__all__ = ["check_about"]

_KINDS: dict[str, tuple[type, str]] = {
    "summary": (str, "a sentence"),
    "training": (Mapping, "a mapping of training data, duration and method"),
    "metrics": (list, "a list of mappings with name, value and definition"),
    "licences": (Mapping, "a mapping from item to licence"),
    "references": (list, "a list of texts"),
}


def check_about(about: Mapping[str, Any] | None) -> dict[str, Any]:
    """Validate the standard fields of the metadata and return it as a dictionary.

    Raises:
        ValueError: if a field has the wrong type, or a metric lacks its definition.

    Example:
        >>> check_about({"metrics": [{"name": "SI-SDR", "value": 7.5}]})
        Traceback (most recent call last):
        ...
        ValueError: metrics in about must have name, value and definition, got {'name': 'SI-SDR', 'value': 7.5}
    """
    if not isinstance(about, Mapping | None):
        raise ValueError(f"about must be a mapping, got {about!r}")
    checked = dict(about or {})
    for field, (kind, meaning) in _KINDS.items():
        if field in checked and not isinstance(checked[field], kind):
            raise ValueError(f"{field} in about must be {meaning}, got {checked[field]!r}")
    for metric in checked.get("metrics", ()):
        _check_metric(metric)
    licences, references = checked.get("licences", {}), checked.get("references", [])
    for field, texts in (("licences", licences.values()), ("references", references)):
        for text in texts:
            if not isinstance(text, str):
                raise ValueError(f"{field} in about must be texts, got {text!r}")
    return checked


def _check_metric(metric: Any) -> None:
    if not isinstance(metric, Mapping) or not {"name", "value", "definition"} <= set(metric):
        raise ValueError(f"metrics in about must have name, value and definition, got {metric!r}")
    if isinstance(metric["value"], bool) or not isinstance(metric["value"], int | float):
        raise ValueError(f"value of a metric in about must be a number, got {metric['value']!r}")
