"""Contents of the tables of a page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torchsep.engine.evaluate.result_reader import Outcome, Run
from torchsep.engine.evaluate.statistics import Statistics, statistics_of
from torchsep.report.items import Item
from torchsep.report.measures import Measure, format_figure
from torchsep.report.plots import BoxPlot, box_plot

__all__ = ["Cell", "ItemRow", "Panel", "SummaryRow", "item_rows", "panels"]


@dataclass(frozen=True)
class Cell:
    """A table cell: text, sort value, small note, and whether it is the best of its column."""

    text: str
    value: float
    note: str = ""
    is_best: bool = False


@dataclass(frozen=True)
class SummaryRow:
    """Summary of a separator: numbers of scored and failed items, speed, and a cell for each metric."""

    label: str
    scored: int
    failed: int
    speed: Cell
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Panel:
    """Statistics and plots of a source, or of the mean over the sources of each item."""

    title: str
    rows: tuple[SummaryRow, ...]
    plots: tuple[BoxPlot, ...]
    num_infinite: int


@dataclass(frozen=True)
class ItemRow:
    """Scores of a separator for a source of an item; ``error`` is set if it failed on the item."""

    source: str
    label: str
    estimate: str
    cells: tuple[Cell, ...] = ()
    error: str = ""


def panels(runs: Sequence[Run], items: Sequence[Item], measures: Sequence[Measure]) -> list[Panel]:
    """Panels of the mean over sources, if there are several, and of each source."""
    sources = sources_of(runs)
    choices: list[str | None] = [None, *sources] if len(sources) > 1 else list(sources)
    return [_panel(source, runs, items, measures) for source in choices]


def sources_of(runs: Sequence[Run]) -> list[str]:
    """Names of the true sources in order of appearance."""
    return list(dict.fromkeys(name for run in runs for outcome in run.outcomes.values() for name in outcome.scores))


def _panel(source: str | None, runs: Sequence[Run], items: Sequence[Item], measures: Sequence[Measure]) -> Panel:
    figures = {
        measure.key: {run.label: _figures(run.outcomes, items, measure.key, source) for run in runs}
        for measure in measures
    }
    summaries = {
        key: {label: statistics_of(list(row.values())) for label, row in rows.items()} for key, rows in figures.items()
    }
    speeds = {run.label: _speed(run) for run in runs}
    fastest = max((speed for speed in speeds.values() if not math.isnan(speed)), default=math.nan)
    rows = []
    for run in runs:
        cells = []
        for measure in measures:
            column = summaries[measure.key]
            best = measure.better([other.median for other in column.values()])
            cells.append(_summary_cell(column[run.label], best))
        failed = sum(outcome.error is not None for outcome in run.outcomes.values())
        speed = speeds[run.label]
        digits = 0 if speed >= 100 else 1 if speed >= 10 else 2
        rows.append(
            SummaryRow(
                run.label,
                _num_scored(run.outcomes, source),
                failed,
                Cell(format_figure(speed, digits), speed, is_best=len(runs) > 1 and speed == fastest),
                tuple(cells),
            )
        )
    ids = [item.id for item in items]
    plots = tuple(box_plot(measure, figures[measure.key], ids) for measure in measures)
    infinite = sum(summary.infinite for column in summaries.values() for summary in column.values())
    return Panel("Mean of the sources" if source is None else source, tuple(rows), plots, infinite)


def _num_scored(outcomes: Mapping[str, Outcome], source: str | None) -> int:
    return sum(bool(outcome.scores if source is None else source in outcome.scores) for outcome in outcomes.values())


def _figures(
    outcomes: Mapping[str, Outcome], items: Sequence[Item], metric: str, source: str | None
) -> dict[int, float]:
    """Scores of a metric by item index."""
    out = {}
    for number, item in enumerate(items):
        scores = outcomes[item.id].scores if item.id in outcomes else {}
        chosen = scores.values() if source is None else [scores.get(source, {})]
        values = [row[metric] for row in chosen if not math.isnan(row.get(metric, math.nan))]
        if values:
            out[number] = sum(values) / len(values)
    return out


def _speed(run: Run) -> float:
    """Seconds of audio processed per second."""
    timed = [
        (outcome.duration, outcome.seconds)
        for outcome in run.outcomes.values()
        if math.isfinite(outcome.duration) and math.isfinite(outcome.seconds)
    ]
    total = sum(seconds for _, seconds in timed)
    return sum(duration for duration, _ in timed) / total if total > 0 else math.nan


def _summary_cell(summary: Statistics, best: float | None) -> Cell:
    note = format_figure(summary.mean)
    if not math.isnan(summary.margin):
        note += f" ± {format_figure(summary.margin)}"
    return Cell(format_figure(summary.median), summary.median, note if summary.count else "", summary.median == best)


def item_rows(item: Item, measures: Sequence[Measure]) -> list[ItemRow]:
    """Rows of an item by source, followed by failures."""
    outcomes = item.outcomes
    rows = []
    for source in dict.fromkeys(name for outcome in outcomes.values() for name in outcome.scores):
        scored = {label: outcome for label, outcome in outcomes.items() if source in outcome.scores}
        bests = [
            measure.better([outcome.scores[source].get(measure.key, math.nan) for outcome in scored.values()])
            for measure in measures
        ]
        for label, outcome in scored.items():
            figures = [outcome.scores[source].get(measure.key, math.nan) for measure in measures]
            cells = tuple(
                Cell(format_figure(value), value, is_best=value == best)
                for value, best in zip(figures, bests, strict=True)
            )
            rows.append(ItemRow(source, label, outcome.estimates.get(source, ""), cells))
    failed = [(label, outcome.error) for label, outcome in outcomes.items() if outcome.error is not None]
    return rows + [ItemRow("", label, "", error=error) for label, error in failed]
