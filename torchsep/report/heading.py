"""Title and metadata of a page."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import torchsep
from torchsep.engine.evaluate.result_reader import Run
from torchsep.report.items import Item

__all__ = ["Heading", "heading_of_files", "heading_of_runs"]

_MAX_LABELS = 4  # in a title
_MATCHES = {
    "names": "estimates are compared with the source of the same name",
    "best": "estimates are assigned to sources by the best score",
}


@dataclass(frozen=True)
class Heading:
    """Title, facts, arguments of each separator, and warnings."""

    title: str
    facts: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


def heading_of_runs(runs: Sequence[Run], items: Sequence[Item]) -> Heading:
    """Heading of evaluation results: separators, data, date and machine."""
    labels = [run.label for run in runs]
    title = joined(labels) if len(labels) <= _MAX_LABELS else f"{len(labels)} separators"
    names = {_plain(run.settings.get("data")).partition(",")[0] for run in runs}
    if len(names) == 1 and any(names):
        title += f" on {names.pop()}"
    facts = [
        ("Data", _each(_plain(run.settings.get("data")) for run in runs)),
        ("Items", str(len(items))),
        ("Matching", _each(_MATCHES.get(str(run.settings.get("match")), "") for run in runs)),
        ("Started", _dates(runs)),
        ("Computed on", _each(", ".join(_texts(run, "device", "machine")) for run in runs)),
        ("Versions", _each(", ".join(_versions(run)) for run in runs)),
    ]
    warnings = []
    if len({json.dumps(run.settings.get("data"), sort_keys=True, default=str) for run in runs}) > 1:
        warnings.append("The separators were evaluated on different data: their scores are not directly comparable.")
    elif len({frozenset(id_ for id_, out in run.outcomes.items() if not out.error) for run in runs}) > 1:
        warnings.append("Not all separators have results for all items; each summary covers the available items.")
    settings = tuple((run.label, _plain(run.settings.get("separator"))) for run in runs)
    return Heading(title, tuple((name, text) for name, text in facts if text), settings, tuple(warnings))


def heading_of_files(items: Sequence[Item]) -> Heading:
    """Heading of audio files: numbers of items and files."""
    files = sum(len(item.tracks) for item in items)
    title = items[0].id if len(items) == 1 else "Separated audio"
    facts = (("Items", str(len(items))), ("Files", str(files)), ("Date", _day(datetime.now().astimezone())))
    return Heading(title, (*facts, ("Versions", f"torchsep {torchsep.__version__}")))


def joined(words: Sequence[str]) -> str:
    """Join words to an enumeration.

    Example:
        >>> joined(["hpss", "repet", "ft2d"])
        'hpss, repet and ft2d'
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _each(texts: Any) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text))


def _texts(run: Run, *keys: str) -> list[str]:
    return [str(run.settings[key]) for key in keys if run.settings.get(key)]


def _versions(run: Run) -> list[str]:
    return [f"{key} {run.settings[key]}" for key in ("torchsep", "torch") if run.settings.get(key)]


def _dates(runs: Sequence[Run]) -> str:
    """First and last date on which a run was started."""
    days = []
    for text in sorted({text for run in runs for text in _texts(run, "started")}):
        try:
            days.append(_day(datetime.fromisoformat(text)))
        except ValueError:
            days.append(text)
    return " to ".join(dict.fromkeys([days[0], days[-1]])) if days else ""


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"


def _plain(value: Any) -> str:
    """Description of data or of a separator: its name or class, followed by ``key=value`` pairs."""
    if not isinstance(value, dict):
        return "" if value is None else str(value)
    name = [str(value.get("name") or value.get("_target_") or "").rpartition(".")[2]]
    named = {key: entry for key, entry in value.items() if key not in {"name", "_target_"} and entry is not None}
    pairs = [f"{key}={json.dumps(entry, default=str)}" for key, entry in named.items()]
    return ", ".join(filter(None, [*name, *(pair.replace('"', "") for pair in pairs)]))
