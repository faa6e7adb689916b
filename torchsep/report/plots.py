"""Geometry of box plots, which are drawn by a template."""

import math
import textwrap
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torchsep.engine.evaluate.statistics import Statistics, statistics_of
from torchsep.report.measures import Measure, format_figure

__all__ = ["Box", "BoxPlot", "Point", "box_plot"]

WIDTH = 360.0
_MARGIN = 10.0
_ROW = 54.0
_FIRST_ROW = 24.0  # below its label
_LABEL_GAP = 12.0  # from the last line of a label to its box
_LINE = 14.0  # height of a line of a label
_LANE = (9.0, 13.0)  # offset and height of the points below a box
_MAX_POINTS = 200  # per box; with more items, only those outside the whiskers are drawn
_LINE_LENGTH = 48  # characters of a label
_SCATTER = 0.618034  # golden ratio, so that neighbouring points do not overlap


@dataclass(frozen=True)
class Point:
    """Score of an item: position, label and index of the item."""

    x: float
    y: float
    text: str
    item: int


@dataclass(frozen=True)
class Box:
    """One row of a plot: box from ``low`` to ``high`` with median ``middle``, whiskers from ``start`` to ``end``.

    ``lines`` are the lines of the label with their vertical positions.
    """

    label: str
    lines: tuple[tuple[float, str], ...]
    y: float
    low: float
    middle: float
    high: float
    start: float
    end: float
    points: tuple[Point, ...]
    summary: Statistics

    @property
    def is_drawn(self) -> bool:
        """Whether the box has finite values."""
        return not math.isnan(self.low)


@dataclass(frozen=True)
class BoxPlot:
    """Box plot of a metric of all separators on a common axis."""

    measure: Measure
    boxes: tuple[Box, ...]
    ticks: tuple[tuple[float, str], ...]
    zero: float | None
    width: float
    height: float


def box_plot(
    measure: Measure,
    figures: Mapping[str, Mapping[int, float]],
    ids: Mapping[int, str],
    methods: Collection[str] | None = None,
) -> BoxPlot:
    """Box plot of a metric, with a row for each separator.

    The axis covers the whiskers of the methods, and extends by at most its length to cover the others. What lies
    outside is drawn at its ends.

    Args:
        measure: the metric.
        figures: scores by label and item number.
        ids: ids of the items by number.
        methods: labels that determine the axis; all if None.
    """
    summaries = {label: statistics_of(list(row.values())) for label, row in figures.items()}
    values = _tick_values(*_robust_range(summaries, summaries if methods is None else methods))
    low, high = values[0], values[-1]

    def place(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return round(_MARGIN + (WIDTH - 2 * _MARGIN) * share, 1)

    boxes = []
    top = 0.0
    for label, row in figures.items():
        summary = summaries[label]
        words = textwrap.wrap(label, _LINE_LENGTH) or [label]
        height = _ROW + _LINE * (len(words) - 1)
        y = top + height - _ROW + _FIRST_ROW
        lines = tuple((y - _LABEL_GAP - _LINE * above, line) for above, line in enumerate(reversed(words)))[::-1]
        top += height
        ends = [place(x) if math.isfinite(x) else math.nan for x in (*summary.quartiles, *summary.whiskers)]
        middle = place(summary.median) if summary.count else math.nan
        points = []
        for item, value in row.items():
            outside = not summary.whiskers[0] <= value <= summary.whiskers[1]
            if math.isfinite(value) and (len(row) <= _MAX_POINTS or outside):
                offset = _LANE[0] + _LANE[1] * (item * _SCATTER % 1)
                text = f"{ids[item]}: {format_figure(value)} {measure.unit}".strip()
                points.append(Point(place(value), round(y + offset, 1), text, item))
        boxes.append(Box(label, lines, y, ends[0], middle, ends[1], ends[2], ends[3], tuple(points), summary))
    digits = max(0, -math.floor(math.log10(values[1] - values[0]) + 1e-9))
    ticks = tuple((place(value), format_figure(value, digits)) for value in values)
    zero = place(0.0) if low < 0 < high else None
    return BoxPlot(measure, tuple(boxes), ticks, zero, WIDTH, top + 22.0)


def _robust_range(summaries: Mapping[str, Statistics], methods: Collection[str]) -> tuple[float, float]:
    """The range of the whiskers of the methods, extended by at most its length to those of the others."""
    whiskers = {label: summary.whiskers for label, summary in summaries.items() if summary.count > summary.infinite}
    own = [ends for label, ends in whiskers.items() if label in methods] or list(whiskers.values())
    low, high = min((ends[0] for ends in own), default=0.0), max((ends[1] for ends in own), default=1.0)
    reach = high - low or max(abs(low), abs(high))
    others = [value for ends in whiskers.values() for value in ends if low - reach <= value <= high + reach]
    return min([low, *others]), max([high, *others])


def _tick_values(low: float, high: float) -> list[float]:
    """Three to seven round numbers that cover a range.

    Example:
        >>> _tick_values(-1.3, 7.9)
        [-2.0, 0.0, 2.0, 4.0, 6.0, 8.0]
    """
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        reach = 0.5 * abs(low) or 0.5
        low, high = low - reach, high + reach
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = unit * next(factor for factor in (1, 2, 5, 10) if factor * unit >= rough * 0.99)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]
