"""The table of an evaluation: what many items come to, for each separator."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from torchsep.engine.results import read_records, read_run, runs_in, write_json

__all__ = ["Figure", "Row", "Summary", "summarise"]

_RESAMPLES = 2000
_INTERVAL = 0.95


@dataclass(frozen=True)
class Figure:
    """A metric over items: the median, the mean with the ends of its confidence interval, and the number of values.

    The interval holds 95 % of the means of 2000 resamples of the items with replacement.
    """

    median: float
    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Row:
    """A separator, over the sources of one name, or over all sources of each item if the name is empty.

    Args:
        separator: its label.
        source: name of the source.
        figures: by metric.
        items: how many were scored.
        failed: how many could not be.
        speed: seconds of audio for a second of computation.
    """

    separator: str
    source: str
    figures: Mapping[str, Figure]
    items: int
    failed: int
    speed: float


@dataclass(frozen=True)
class Summary:
    """All rows of an evaluation, and the metrics that they have, in order."""

    metrics: tuple[str, ...]
    rows: tuple[Row, ...]

    def as_text(self) -> str:
        """Two tables in Markdown: the scores, and how long the computation took."""
        header = ["separator", "source", "items", "failed", *(f"{name} (dB)" for name in self.metrics)]
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
        """The same as plain values."""
        rows = [
            {
                "separator": row.separator,
                "source": row.source or None,
                "items": row.items,
                "failed": row.failed,
                "speed": row.speed,
                **{name: vars(figure) for name, figure in row.figures.items()},
            }
            for row in self.rows
        ]
        return {"metrics": list(self.metrics), "aggregation": _LEGEND, "rows": rows}


_LEGEND = (
    "Each cell: median over the items, then the mean over the items with its 95 % confidence interval (bootstrap). An "
    "item's value is the mean over its sources in the rows of all sources; BSS Eval version 4 is the median over its "
    "frames. Values that are not finite are left out."
)


def summarise(output: Path) -> Summary:
    """The table of all results in the output folder of an evaluation, which is also written there.

    Files: ``summary.md`` and ``summary.json``.
    """
    rows: list[Row] = []
    metrics: dict[str, None] = {}
    for folder in runs_in(output):
        run = read_run(folder) or {}
        records = read_records(folder)
        label = str(run.get("label", folder.name))
        names = run.get("sources") or []
        for source in ["", *names] if len(names) != 1 else [""]:
            row = _row(label, source, records)
            metrics.update(dict.fromkeys(row.figures))
            rows.append(row)
    summary = Summary(tuple(metrics), tuple(rows))
    write_json(output / "summary.json", summary.as_values())
    (output / "summary.md").write_text(summary.as_text(), encoding="utf-8")
    return summary


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells in columns, the first to the left and those of numbers to the right."""
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


def _row(label: str, source: str, records: Sequence[Mapping[str, Any]]) -> Row:
    scored = [record for record in records if "error" not in record]
    values: dict[str, list[float]] = {}
    for record in scored:
        sources = [scores for name, scores in record["sources"].items() if source in {"", name}]
        columns = dict.fromkeys(key for scores in sources for key in scores if key != "estimate")
        for column in columns:
            numbers = [scores[column] for scores in sources if isinstance(scores.get(column), (int, float))]
            values.setdefault(column, []).extend([statistics.fmean(numbers)] if numbers else [])
    seconds = sum(record["seconds"] for record in scored)
    duration = sum(record["duration"] for record in scored)
    figures = {column: _figure(numbers) for column, numbers in values.items()}
    return Row(label, source, figures, len(scored), len(records) - len(scored), duration / seconds if seconds else 0.0)


def _figure(numbers: Sequence[float]) -> Figure:
    if not numbers:
        return Figure(float("nan"), float("nan"), float("nan"), float("nan"), 0)
    values = torch.tensor(sorted(numbers), dtype=torch.float64)
    chosen = torch.randint(len(values), (_RESAMPLES, len(values)), generator=torch.Generator().manual_seed(0))
    ends = torch.tensor([(1 - _INTERVAL) / 2, (1 + _INTERVAL) / 2], dtype=torch.float64)
    low, high = values[chosen].mean(1).quantile(ends).tolist()
    return Figure(statistics.median(numbers), statistics.fmean(numbers), low, high, len(numbers))


def _cell(figure: Figure | None) -> str:
    if figure is None or not figure.count:
        return "-"
    return f"{figure.median:.2f}, {figure.mean:.2f} [{figure.low:.2f}, {figure.high:.2f}]"
