"""The tables of a summary in Markdown."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torchsep.engine.evaluate.statistics import Statistics

__all__ = ["score_tables", "speed_table"]

# Maximum number of characters of the names of a separator and a source in a narrow table of at most 100 columns.
_SEPARATOR, _SOURCE = 30, 16
_NUMBERS = ("median", "mean", "± 95 %")


def score_tables(rows: Sequence[Any], metrics: Sequence[str], *, wide: bool) -> list[str]:
    """The scores of separators: one table of all metrics, or a narrow one below the name of each metric.

    Args:
        rows: of a summary.
        metrics: names of the columns.
        wide: whether there is one table.
    """
    shown = [name for name in metrics if any(name in row.figures for row in rows)]
    if wide:
        return [_score_table(rows, shown, ["separator", "source", "items", "failed"], wide=True)]
    return [
        "\n\n".join((name, _score_table(rows, [name], ["separator", "source", "items", "failed"], wide=False)))
        for name in shown
    ]


def speed_table(speeds: Mapping[str, float], *, wide: bool) -> str:
    """The speed of each separator, by label."""
    cells = [[_shortened(label, None if wide else _SEPARATOR), f"{speed:.1f}"] for label, speed in speeds.items()]
    return _table(["separator", "times real time"], cells)


def _score_table(rows: Sequence[Any], metrics: Sequence[str], header: list[str], *, wide: bool) -> str:
    cells = [
        [
            _shortened(_title(row), None if wide else _SEPARATOR),
            _shortened(row.source or "all", None if wide else _SOURCE),
            str(row.items),
            str(row.failed),
            *(cell for name in metrics for cell in _cells(row.figures.get(name))),
        ]
        for row in rows
    ]
    columns = [f"{name} {number}" if wide else number for name in metrics for number in _NUMBERS]
    return _table([*header, *map(_shortened, columns)], cells)


def _title(row: Any) -> str:
    """The label of a separator, with its role if it is not a method."""
    return str(row.separator if row.role == "method" else f"{row.separator} ({row.role})")


def _shortened(text: str, longest: int | None = None) -> str:
    """Text that neither ends a cell of a Markdown table nor its line."""
    text = " ".join(text.split())
    text = text if longest is None or len(text) <= longest else f"{text[: longest - 1]}…"
    return text.replace("|", "\\|")


def _cells(figure: Statistics | None) -> list[str]:
    """Median, mean and half of its confidence interval."""
    if figure is None or not figure.count:
        return ["-"] * len(_NUMBERS)
    values = figure.median, figure.mean, figure.margin
    return ["-" if math.isnan(value) else f"{value:.2f}".replace("-0.00", "0.00") for value in values]


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
