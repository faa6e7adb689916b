"""The summary table of an evaluation: statistics over the items for each separator and source."""

import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torchsep.engine.evaluate.result_reader import ROLES, Outcome, Run, read_runs
from torchsep.engine.evaluate.result_writer import write_json
from torchsep.engine.evaluate.statistics import Statistics, statistics_of
from torchsep.engine.evaluate.tables import score_tables, speed_table

__all__ = ["Row", "Summary", "summarise"]

_LEGEND = (
    "Median and mean over the items, and half of the 95 % confidence interval of the mean (Student's t). The value of "
    "an item is the mean over its sources in the rows of all sources; BSS Eval version 4 is the median over its "
    "frames. NaN is omitted, and infinite values are omitted from the means. An improvement is the difference to the "
    "unprocessed mixture."
)


@dataclass(frozen=True)
class Row:
    """A separator, over the sources of one name, or over all sources of each item if the name is empty.

    Args:
        separator: its label.
        role: ``method``, ``baseline`` or ``oracle``.
        group: source names of the items; items with other sources are summarised in other rows.
        source: name of the source.
        figures: statistics by metric.
        items: number of items that were scored.
        failed: number of items that failed.
    """

    separator: str
    role: str
    group: tuple[str, ...]
    source: str
    figures: Mapping[str, Statistics]
    items: int
    failed: int


@dataclass(frozen=True)
class Summary:
    """All rows of an evaluation, the metrics that they have, in order, and the speeds of the separators.

    Args:
        metrics: names of the columns.
        rows: by group of items, separator and source.
        speeds: seconds of audio per second of computation, by label.
    """

    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    speeds: Mapping[str, float]

    def as_text(self, *, wide: bool = True) -> str:
        """Tables in Markdown: the scores, and the speed of computation.

        Args:
            wide: whether all metrics are in one table. Otherwise each has a table of at most 100 columns; metrics that
                are not compared with the mixture, and single sources if there are several groups, are left out.
        """
        metrics = list(self.metrics)
        if not wide:
            compared = [name for name in metrics if f"{name}_improvement" in metrics]
            metrics = [name for name in metrics if name.removesuffix("_improvement") in compared] or metrics
        groups = dict.fromkeys(row.group for row in self.rows)
        parts = []
        for group in groups:
            rows = [row for row in self.rows if row.group == group and (wide or len(groups) == 1 or not row.source)]
            if len(groups) > 1:
                count = max(row.items + row.failed for row in rows)
                parts.append(f"## {count} item{'s' * (count != 1)} of {', '.join(group) or 'unknown sources'}")
            parts += score_tables(rows, metrics, wide=wide)
        hidden = [name for name in self.metrics if name not in metrics]
        more = f" Also measured: {', '.join(hidden)} (--wide)." if hidden else ""
        parts.append(_LEGEND if wide else textwrap.fill(_LEGEND + more, 100))
        return "\n\n".join((*parts, speed_table(self.speeds, wide=wide))) + "\n"

    def as_values(self) -> dict[str, Any]:
        """The summary as plain values, for JSON."""
        rows = [{**asdict(row), "source": row.source or None} for row in self.rows]
        return {"metrics": list(self.metrics), "aggregation": _LEGEND, "rows": rows, "speeds": dict(self.speeds)}


def summarise(output: Path, known: Sequence[Run] = ()) -> Summary:
    """The table of all results in the output folder of an evaluation, also written there.

    Items with different sources are summarised in groups. Methods come first, then baselines and oracles.

    Files: ``summary.md`` and ``summary.json``.

    Args:
        output: folder of the evaluation.
        known: runs in it that need not be read again.
    """
    runs = read_runs([output], known)
    sources = _sources_of_items(runs)
    rows: list[Row] = []
    for group in sorted(set(sources.values()), key=lambda names: (len(names), names)):
        for run in sorted(runs, key=lambda run: ROLES.index(run.role)):  # stable
            outcomes = [outcome for id_, outcome in run.outcomes.items() if sources[id_] == group]
            if outcomes:
                rows += [_row(run, group, source, outcomes) for source in ("", *(group if len(group) > 1 else ()))]
    metrics = dict.fromkeys(name for row in rows for name in row.figures)
    ordered = dict.fromkeys(row.separator for row in rows)
    speeds = {run.label: _speed(run) for run in runs}
    summary = Summary(tuple(metrics), tuple(rows), {label: speeds[label] for label in ordered})
    write_json(output / "summary.json", summary.as_values())
    draft = output / f".summary.md.{os.getpid()}"
    draft.write_text(summary.as_text(), encoding="utf-8")
    draft.replace(output / "summary.md")
    return summary


def _sources_of_items(runs: Sequence[Run]) -> dict[str, tuple[str, ...]]:
    """The source names of each item; where it failed in all runs, those of the data set, if all items have the same."""
    found = {id_: tuple(run.settings.get("sources") or ()) for run in runs for id_ in run.outcomes}
    return found | {
        id_: tuple(outcome.scores) for run in runs for id_, outcome in run.outcomes.items() if outcome.scores
    }


def _row(run: Run, group: tuple[str, ...], source: str, outcomes: Sequence[Outcome]) -> Row:
    scored = [outcome for outcome in outcomes if not outcome.error]
    values: dict[str, list[float]] = {}
    for outcome in scored:
        scores = [figures for name, figures in outcome.scores.items() if source in {"", name}]
        for column in dict.fromkeys(key for figures in scores for key in figures):
            defined = [figures[column] for figures in scores if not math.isnan(figures.get(column, math.nan))]
            values.setdefault(column, []).append(math.fsum(defined) / len(defined) if defined else math.nan)
    figures = {column: statistics_of(numbers) for column, numbers in values.items()}
    return Row(run.label, run.role, group, source, figures, len(scored), len(outcomes) - len(scored))


def _speed(run: Run) -> float:
    """Seconds of audio per second of computation."""
    scored = [outcome for outcome in run.outcomes.values() if not outcome.error]
    seconds, duration = (math.fsum(getattr(out, name) for out in scored) for name in ("seconds", "duration"))
    return duration / seconds if seconds > 0 else 0.0
