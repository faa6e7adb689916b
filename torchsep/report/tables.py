"""Contents of the tables of a page."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torchsep.engine.evaluate.result_reader import ROLES, Run
from torchsep.engine.evaluate.statistics import Statistics, statistics_of
from torchsep.report.items import Item
from torchsep.report.measures import Measure, format_figure
from torchsep.report.plots import BoxPlot, box_plot

__all__ = ["Cell", "ItemRow", "Panel", "SummaryRow", "item_rows", "mean_rows", "panels"]


@dataclass(frozen=True)
class Cell:
    """A table cell: text, sort value, small note, and whether it is the best of its column."""

    text: str
    value: float
    note: str = ""
    is_best: bool = False

    @property
    def sort_key(self) -> str:
        """The value as JavaScript reads it; empty for NaN.

        Example:
            >>> [Cell("", value).sort_key for value in (1.5, -math.inf, math.nan)]
            ['1.5', '-Infinity', '']
        """
        return "" if math.isnan(self.value) else str(self.value).replace("inf", "Infinity")


@dataclass(frozen=True)
class SummaryRow:
    """Summary of a separator: its role, numbers of scored and failed items, speed, and a cell for each metric."""

    label: str
    role: str
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
    """Scores of a separator on an item, for a source or in the mean; ``error`` is set if it failed on the item."""

    source: str
    label: str
    estimate: str
    cells: tuple[Cell, ...] = ()
    error: str = ""


def panels(runs: Sequence[Run], items: Sequence[Item], measures: Sequence[Measure]) -> list[Panel]:
    """Panels of the mean over sources, if there are several, and of each source.

    Items with different sources have panels of their own, as their scores are not comparable.
    """
    known = list(dict.fromkeys(item.sources for item in items if item.sources)) or [()]
    groups = {  # an item that failed everywhere belongs to the group if there is just one
        sources: [number for number, item in enumerate(items) if item.sources == sources or len(known) == 1]
        for sources in known
    }
    ordered = sorted(runs, key=lambda run: ROLES.index(run.role))  # stable
    found = []
    for sources, numbers in groups.items():
        own = {number: items[number] for number in numbers}
        for source in [None, *sources] if len(sources) != 1 else sources:
            title = "Mean of the sources" if source is None else source
            if len(groups) > 1:
                title += f" \N{MIDDLE DOT} {len(own)} item{'s' * (len(own) != 1)} of {', '.join(sources)}"
            found.append(_panel(title, source, ordered, own, measures))
    return found


def _panel(
    title: str, source: str | None, runs: Sequence[Run], items: Mapping[int, Item], measures: Sequence[Measure]
) -> Panel:
    """The panel of a source over items by number."""
    figures = {
        measure.key: {run.label: _figures(run, items, measure.key, source) for run in runs} for measure in measures
    }
    summaries = {
        key: {label: statistics_of(list(row.values())) for label, row in rows.items()} for key, rows in figures.items()
    }
    methods = [run.label for run in runs if run.role == "method"]
    speeds = {run.label: _speed(run) for run in runs}
    fastest = max((speeds[label] for label in methods if not math.isnan(speeds[label])), default=math.nan)
    rows = []
    for run in runs:
        competes = run.label in methods
        cells = []
        for measure in measures:
            column = summaries[measure.key]
            best = measure.better([column[label].median for label in methods]) if competes else None
            cells.append(_summary_cell(column[run.label], best))
        outcomes = [run.outcomes[item.id] for item in items.values() if item.id in run.outcomes]
        speed = speeds[run.label]
        digits = 0 if speed >= 100 else 1 if speed >= 10 else 2
        is_fastest = competes and len(methods) > 1 and speed == fastest
        rows.append(
            SummaryRow(
                run.label,
                run.role,
                sum(bool(outcome.scores if source is None else source in outcome.scores) for outcome in outcomes),
                sum(outcome.error is not None for outcome in outcomes),
                Cell(format_figure(speed, digits), speed, is_best=is_fastest),
                tuple(cells),
            )
        )
    ids = {number: item.id for number, item in items.items()}
    plots = tuple(box_plot(measure, figures[measure.key], ids, methods) for measure in measures)
    infinite = sum(summary.infinite for column in summaries.values() for summary in column.values())
    return Panel(title, tuple(rows), plots, infinite)


def _figures(run: Run, items: Mapping[int, Item], metric: str, source: str | None) -> dict[int, float]:
    """Scores of a metric by item number."""
    out = {}
    for number, item in items.items():
        scores = run.outcomes[item.id].scores if item.id in run.outcomes else {}
        figure = _mean(scores.values() if source is None else [scores.get(source, {})], metric)
        if not math.isnan(figure):
            out[number] = figure
    return out


def _mean(scores: Iterable[Mapping[str, float]], metric: str) -> float:
    """Mean of a metric over the sources that have it; NaN if none has."""
    values = [row[metric] for row in scores if not math.isnan(row.get(metric, math.nan))]
    return sum(values) / len(values) if values else math.nan


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
        competing = [outcome.scores[source] for label, outcome in scored.items() if label in item.methods]
        bests = [measure.better([scores.get(measure.key, math.nan) for scores in competing]) for measure in measures]
        for label, outcome in scored.items():
            figures = [outcome.scores[source].get(measure.key, math.nan) for measure in measures]
            cells = _item_cells(item, label, figures, bests)
            rows.append(ItemRow(source, label, outcome.estimates.get(source, ""), cells))
    return rows + _failures(item)


def mean_rows(item: Item, measures: Sequence[Measure]) -> list[ItemRow]:
    """Rows of an item with the means over its sources, one for each separator; failures come last."""
    scored = {label: outcome.scores.values() for label, outcome in item.outcomes.items() if outcome.scores}
    figures = {label: [_mean(scores, measure.key) for measure in measures] for label, scores in scored.items()}
    bests = [
        measure.better([row[column] for label, row in figures.items() if label in item.methods])
        for column, measure in enumerate(measures)
    ]
    rows = [ItemRow("", label, "", _item_cells(item, label, row, bests)) for label, row in figures.items()]
    return rows + _failures(item)


def _item_cells(item: Item, label: str, figures: Sequence[float], bests: Sequence[float | None]) -> tuple[Cell, ...]:
    return tuple(
        Cell(format_figure(value), value, is_best=label in item.methods and value == best)
        for value, best in zip(figures, bests, strict=True)
    )


def _failures(item: Item) -> list[ItemRow]:
    failed = [(label, outcome.error) for label, outcome in item.outcomes.items() if outcome.error is not None]
    return [ItemRow("", label, "", error=error) for label, error in failed]
