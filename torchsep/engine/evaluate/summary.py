"""The summary table of an evaluation: statistics over the items for each separator and source."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torchsep.engine.evaluate.result_reader import Run, read_runs
from torchsep.engine.evaluate.result_writer import write_json
from torchsep.engine.evaluate.statistics import Statistics, statistics_of

__all__ = ["Row", "Summary", "summarise"]

_LEGEND = (
    "Each cell: median over the items, then mean and half of its 95 % confidence interval (Student's t). An item's "
    "value is the mean over its sources in the rows of all sources; BSS Eval version 4 is the median over its frames. "
    "NaN is omitted, and infinite values are omitted from the means."
)


@dataclass(frozen=True)
class Row:
    """A separator, over the sources of one name, or over all sources of each item if the name is empty.

    Args:
        separator: its label.
        source: name of the source.
        figures: statistics by metric.
        items: number of items that were scored.
        failed: number of items that failed.
        speed: seconds of audio per second of computation.
    """

    separator: str
    source: str
    figures: Mapping[str, Statistics]
    items: int
    failed: int
    speed: float


@dataclass(frozen=True)
class Summary:
    """All rows of an evaluation, and the metrics that they have, in order."""

    metrics: tuple[str, ...]
    rows: tuple[Row, ...]

    def as_text(self) -> str:
        """Two tables in Markdown: the scores, and the speed of computation."""
        header = ["separator", "source", "items", "failed", *self.metrics]
        scores = [
            [
                row.separator,
                row.source or "all",
                str(row.items),
                str(row.failed),
                *(_cell(row.figures.get(name)) for name in self.metrics),
            ]
            for row in self.rows
        ]
        speeds = [[row.separator, f"{row.speed:.1f}"] for row in self.rows if not row.source]
        return "\n\n".join((_table(header, scores), _LEGEND, _table(["separator", "times real time"], speeds))) + "\n"

    def as_values(self) -> dict[str, Any]:
        """The summary as plain values, for JSON."""
        rows = [{**asdict(row), "source": row.source or None} for row in self.rows]
        return {"metrics": list(self.metrics), "aggregation": _LEGEND, "rows": rows}


def summarise(output: Path, known: Sequence[Run] = ()) -> Summary:
    """The table of all results in the output folder of an evaluation, also written there.

    Files: ``summary.md`` and ``summary.json``.

    Args:
        output: folder of the evaluation.
        known: runs in it that need not be read again.
    """
    rows: list[Row] = []
    metrics: dict[str, None] = {}
    for run in read_runs([output], known):
        names = run.settings.get("sources") or []
        for source in ("", *names) if len(names) > 1 else ("",):
            row = _row(run, source)
            metrics.update(dict.fromkeys(row.figures))
            rows.append(row)
    summary = Summary(tuple(metrics), tuple(rows))
    write_json(output / "summary.json", summary.as_values())
    draft = output / f".summary.md.{os.getpid()}"
    draft.write_text(summary.as_text(), encoding="utf-8")
    draft.replace(output / "summary.md")
    return summary


def _row(run: Run, source: str) -> Row:
    scored = [outcome for outcome in run.outcomes.values() if not outcome.error]
    values: dict[str, list[float]] = {}
    for outcome in scored:
        scores = [figures for name, figures in outcome.scores.items() if source in {"", name}]
        for column in dict.fromkeys(key for figures in scores for key in figures):
            defined = [figures[column] for figures in scores if not math.isnan(figures.get(column, math.nan))]
            values.setdefault(column, []).append(math.fsum(defined) / len(defined) if defined else math.nan)
    figures = {column: statistics_of(numbers) for column, numbers in values.items()}
    seconds, duration = (math.fsum(getattr(out, name) for out in scored) for name in ("seconds", "duration"))
    failed = len(run.outcomes) - len(scored)
    return Row(run.label, source, figures, len(scored), failed, duration / seconds if seconds > 0 else 0.0)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; columns of numbers are right-aligned."""
    numeric = [bool(rows) and all(row[column][:1] in "-0123456789" for row in rows) for column in range(len(header))]
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]
    rule = ["-" * (width - 1) + ":" if right else "-" * width for width, right in zip(widths, numeric, strict=True)]
    lines = [
        " | ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        )
        for line in (header, rule, *rows)
    ]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(figure: Statistics | None) -> str:
    if figure is None or not figure.count:
        return "-"
    margin = "" if math.isnan(figure.margin) else f" ± {figure.margin:.2f}"
    return f"{figure.median:.2f}, {figure.mean:.2f}{margin}"
