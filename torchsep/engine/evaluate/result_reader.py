"""The results of an evaluation read from its folder: runs of separators, and the outcome of each item."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

__all__ = ["ROLES", "Outcome", "Run", "is_evaluation", "outcome_of", "read_run", "read_runs", "read_settings"]

ROLES = ("method", "baseline", "oracle")

_RESULTS = "results*.jsonl"  # one of each process

_SPECIAL = {None: math.nan, "nan": math.nan, "inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True)
class Outcome:
    """The outcome of one item: scores by source and metric, and audio if it was saved; or an error."""

    id: str
    error: str | None = None
    sample_rate: int | None = None
    duration: float = math.nan
    seconds: float = math.nan
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    estimates: dict[str, str] = field(default_factory=dict)  # names, by source
    mixture: Path | None = None
    references: dict[str, Path] = field(default_factory=dict)
    audio: dict[str, Path] = field(default_factory=dict)  # estimates, by source


@dataclass(frozen=True)
class Run:
    """One separator on one data set; ``settings`` is what ``run.json`` holds."""

    label: str
    folder: Path
    settings: dict[str, Any]
    outcomes: dict[str, Outcome]

    @property
    def role(self) -> str:
        """``method``, ``baseline`` or ``oracle``: only methods compete."""
        role = str(self.settings.get("role"))
        return role if role in ROLES else "method"


def is_evaluation(path: Path) -> bool:
    """Whether a folder is an evaluation, or a single run of one."""
    return bool(_run_folders(path))


def read_runs(paths: Sequence[Path], known: Sequence[Run] = ()) -> list[Run]:
    """The runs in evaluation folders in the order in which they were started, with unique labels.

    Args:
        paths: evaluation folders, or single runs of them.
        known: runs that need not be read again.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if a file is not a valid result file (the message gives the line), or there are no results.
    """
    folders: dict[Path, Path] = {}
    for path in paths:
        found = _run_folders(path)
        if not found:
            raise ValueError(f"{path} holds no results.jsonl, nor does a folder in it")
        for folder in found:
            folders.setdefault(folder.resolve(), folder)
    in_memory = {run.folder.resolve(): run for run in known}
    runs = [in_memory.get(resolved) or read_run(folder) for resolved, folder in folders.items()]
    if not any(run.outcomes for run in runs):
        raise ValueError(f"{', '.join(map(str, paths))}: results.jsonl must hold at least one item, got none")
    runs.sort(key=lambda run: str(run.settings.get("started", "")))
    return _uniquely_labelled(runs)


def _run_folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    if any(path.glob(_RESULTS)):
        return [path]
    return sorted({file.parent for file in path.glob(f"*/{_RESULTS}")})


def _uniquely_labelled(runs: Sequence[Run]) -> list[Run]:
    """The runs with unique labels: equal ones are followed by the name of their evaluation, or by a number."""
    counts = Counter(run.label for run in runs)
    labels: Counter[str] = Counter()
    out = []
    for run in runs:
        label = run.label
        if counts[label] > 1:
            label = f"{label} ({run.folder.resolve().parent.name})"
        labels[label] += 1
        out.append(replace(run, label=label if labels[label] == 1 else f"{label} {labels[label]}"))
    return out


def read_run(folder: Path) -> Run:
    """The results in the folder of one run, which may be empty."""
    settings = read_settings(folder) or {}
    label = str(settings.get("label") or folder.resolve().name)
    outcomes: dict[str, Outcome] = {}
    for path in sorted(folder.glob(_RESULTS)):
        found = _read_outcomes(path)
        # Two processes never score the same item in one go, but a later attempt may give it to another.
        outcomes |= {id_: outcome for id_, outcome in found.items() if id_ not in outcomes or not outcome.error}
    return Run(label, folder, settings, outcomes)


def read_settings(folder: Path) -> dict[str, Any] | None:
    """The settings of the run whose results are in a folder; None if unknown."""
    described = folder / "run.json"
    if not described.is_file():
        return None
    try:
        settings: Any = json.loads(described.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{described} is not JSON: {error}") from None
    if not isinstance(settings, dict):
        raise ValueError(f"{described} must hold an object, got {type(settings).__name__}")
    return settings


def _read_outcomes(path: Path) -> dict[str, Outcome]:
    """The outcomes by id; the last one of an item that was attempted more than once."""
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = text.split("\n")
    outcomes: dict[str, Outcome] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            outcome = outcome_of(json.loads(line), path.parent.parent)
        except json.JSONDecodeError as error:
            if number == len(lines):  # no newline after it: still being written, or the writer was stopped
                break
            raise ValueError(f"{path}, line {number}: is not JSON: {error.msg} at column {error.colno}") from None
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        outcomes[outcome.id] = outcome
    return outcomes


def outcome_of(row: Any, root: Path) -> Outcome:
    """The outcome that a row of a result file describes; audio files are relative to the root."""
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        raise ValueError(f"must be an object with an id, got {str(row)[:80]}")
    if row.get("error") is not None:
        return Outcome(row["id"], error=" ".join(str(row["error"]).split()))
    sources = {name: _mapping(figures, name) for name, figures in _mapping(row.get("sources"), "sources").items()}
    files = _mapping(row.get("audio") or {}, "audio")
    names = {source: str(figures.get("estimate", source)) for source, figures in sources.items()}
    rate = row.get("sample_rate")
    return Outcome(
        id=row["id"],
        sample_rate=rate if isinstance(rate, int) else None,
        duration=_number(row.get("duration"), "duration"),
        seconds=_number(row.get("seconds"), "seconds"),
        scores={
            source: {metric: _number(value, metric) for metric, value in figures.items() if metric != "estimate"}
            for source, figures in sources.items()
        },
        estimates=names,
        mixture=_inside(root, files["mixture"]) if files.get("mixture") else None,
        references=_paths(root, files.get("references")),
        audio=_paths(root, files.get("estimates")),
    )


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be an object, got {str(value)[:80]}")
    return value


def _number(value: Any, name: str) -> float:
    if value is None or isinstance(value, str):
        key = value.lower() if isinstance(value, str) else None
        if key in _SPECIAL:
            return _SPECIAL[key]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise ValueError(f'{name} must be a number, null, "inf" or "-inf", got {value!r}')


def _paths(root: Path, files: Any) -> dict[str, Path]:
    return {name: _inside(root, path) for name, path in _mapping(files or {}, "audio").items()}


def _inside(root: Path, path: Any) -> Path:
    """A path inside the evaluation folder; others must not end up on a page that is shared."""
    whole = root / str(path)
    if not whole.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"audio must lie in {root}, got {path}")
    return whole
