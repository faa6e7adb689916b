"""What a page says about itself before anything else."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import torchsep
from torchsep.engine.evaluate.result_reader import Run
from torchsep.report.items import Item

__all__ = ["Heading", "heading_of_files", "heading_of_runs"]

_MOST_LABELS = 4  # that a title holds
_MATCHES = {
    "names": "estimates are compared with the source of the same name",
    "best": "estimates are matched with sources so that the scores are best",
}


@dataclass(frozen=True)
class Heading:
    """Title, facts in words, the arguments of each separator, and what the reader must be warned of."""

    title: str
    facts: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


def heading_of_runs(runs: Sequence[Run], items: Sequence[Item]) -> Heading:
    """What was evaluated, on what, when and with what."""
    labels = [run.label for run in runs]
    title = joined(labels) if len(labels) <= _MOST_LABELS else f"{len(labels)} separators"
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
        warnings.append("The separators were run on different data: compare their figures with care.")
    elif len({frozenset(id_ for id_, out in run.outcomes.items() if not out.error) for run in runs}) > 1:
        warnings.append("Not all separators have results for all items; each is summarised over those that it has.")
    settings = tuple((run.label, _plain(run.settings.get("separator"))) for run in runs)
    return Heading(title, tuple((name, text) for name, text in facts if text), settings, tuple(warnings))


def heading_of_files(items: Sequence[Item]) -> Heading:
    """How many items and files there are to listen to."""
    files = sum(len(item.tracks) for item in items)
    title = items[0].id if len(items) == 1 else "Separated audio"
    facts = (("Items", str(len(items))), ("Files", str(files)), ("Date", _day(datetime.now().astimezone())))
    return Heading(title, (*facts, ("Versions", f"torchsep {torchsep.__version__}")))


def joined(words: Sequence[str]) -> str:
    """Words as an enumeration.

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
    """The first and the last day on which a run was started."""
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
    """A description of data or of a separator: its name or class, then ``key=value`` for what is set."""
    if not isinstance(value, dict):
        return "" if value is None else str(value)
    name = [str(value.get("name") or value.get("_target_") or "").rpartition(".")[2]]
    named = {key: entry for key, entry in value.items() if key not in {"name", "_target_"} and entry is not None}
    pairs = [f"{key}={json.dumps(entry, default=str)}" for key, entry in named.items()]
    return ", ".join(filter(None, [*name, *(pair.replace('"', "") for pair in pairs)]))
