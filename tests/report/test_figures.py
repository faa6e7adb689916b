"""Summaries against NumPy and SciPy; metrics, tables and plots."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report.fake_evaluation import result, scores, write_run
from scipy import stats

from torchsep.engine.evaluate.result_reader import read_runs
from torchsep.engine.evaluate.statistics import statistics_of, student_quantile
from torchsep.report.items import items_of_runs
from torchsep.report.measures import format_figure, measure_of, measures_of
from torchsep.report.plots import box_plot
from torchsep.report.tables import item_rows, mean_rows, panels


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 8, 13, 30, 99, 1000])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_student_quantile(freedom, confidence):
    assert student_quantile(freedom, confidence) == pytest.approx(stats.t.ppf(0.5 + confidence / 2, freedom), rel=1e-9)


@pytest.mark.parametrize("count", [2, 3, 4, 9, 50])
def test_summary(count):
    values = np.random.default_rng(count).standard_normal(count)
    summary = statistics_of([*values.tolist(), math.nan])
    assert summary.count == count
    assert summary.median == pytest.approx(np.median(values))
    assert summary.mean == pytest.approx(values.mean())
    assert summary.quartiles == pytest.approx(np.quantile(values, [0.25, 0.75]))
    low, high = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=stats.sem(values))
    assert summary.margin == pytest.approx((high - low) / 2)
    assert summary.extremes == (values.min(), values.max())


def test_summary_of_little():
    assert math.isnan(statistics_of([]).median)
    assert math.isnan(statistics_of([math.nan]).mean)
    one = statistics_of([3.0])
    assert (one.median, one.mean, one.quartiles, one.count) == (3.0, 3.0, (3.0, 3.0), 1)
    assert math.isnan(one.margin)
    infinite = statistics_of([math.inf, math.inf, 1.0])
    assert (infinite.median, infinite.mean, infinite.infinite) == (math.inf, 1.0, 2)
    assert statistics_of([-math.inf]).median == -math.inf


def test_whiskers_leave_out_what_is_far():
    summary = statistics_of([0.0, 1.0, 2.0, 3.0, 100.0])
    assert summary.whiskers == (0.0, 3.0)
    assert summary.extremes == (0.0, 100.0)


@pytest.mark.parametrize(
    ("key", "definition", "name", "unit", "higher"),
    [
        ("sdr", "", "SDR", "dB", True),
        ("si_sdr_improvement", "", "SI-SDR improvement", "dB", True),
        ("pesq", "wideband", "PESQ", "", True),
        ("word_errors", "in percent; lower is better", "word errors", "", False),
        ("bandwidth_ratio", "in dB.", "bandwidth ratio", "dB", True),
        ("colour", "of the sound", "colour", "", None),
    ],
)
def test_measures(key, definition, name, unit, higher):
    measure = measure_of(key, definition)
    assert (measure.name, measure.unit, measure.higher_is_better) == (name, unit, higher)


def test_the_best_is_that_of_the_direction():
    assert measure_of("sdr").better([1.0, math.inf]) == math.inf
    assert measure_of("errors", "lower is better").better([1.0, 2.0]) == 1.0
    assert measure_of("colour").better([1.0, 2.0]) is None
    assert measure_of("sdr").better([1.0, math.nan]) is None  # nothing to compare with


def test_negative_figures_have_a_true_minus():
    assert format_figure(-1.234) == "\N{MINUS SIGN}1.23"
    assert format_figure(-math.inf) == "\N{MINUS SIGN}∞"
    assert format_figure(math.nan) == "\N{EN DASH}"


@pytest.fixture
def evaluation(tmp_path):
    first = {"music": {"si_sdr": 1.0, "errors": 5.0}, "voice": {"si_sdr": 3.0, "errors": None}}
    second = {"music": {"si_sdr": 6.0, "errors": 10.0}, "voice": {"si_sdr": 8.0, "errors": 10.0}}
    write_run(tmp_path, "one", [result("a", first), result("b", second), {"id": "c", "error": "no"}])
    unknown = {"si_sdr": None, "errors": None}
    rows = [result(id_, {"music": unknown, **scores(value)}) for id_, value in (("a", "inf"), ("b", 8.0))]
    write_run(tmp_path, "two", rows)
    runs = read_runs([tmp_path])
    return runs, items_of_runs(runs), measures_of(runs)


def test_panels(evaluation):
    runs, items, measures = evaluation
    mean, music, voice = panels(runs, items, measures)
    assert (mean.title, music.title, voice.title) == ("Mean of the sources", "music", "voice")
    one, two = mean.rows
    assert (one.scored, one.failed, two.scored, two.failed) == (2, 1, 2, 0)
    assert one.cells[0].value == 4.5  # median of (1 + 3) / 2 and 7
    assert (one.cells[0].is_best, two.cells[0].is_best) == (False, True)
    assert one.cells[1].value == 7.5  # the mean of the source that has a figure
    assert (one.cells[1].is_best, two.cells[1].is_best) == (True, False)
    assert two.cells[0].text == "∞"
    assert mean.num_infinite == voice.num_infinite == 1
    assert music.num_infinite == 0
    assert (music.rows[0].scored, music.rows[1].scored) == (2, 2)
    assert music.rows[1].cells[0].text == "\N{EN DASH}"
    assert one.speed.value == 4.0  # twice 2 s in 0.5 s


def test_rows_of_items(evaluation):
    _, items, measures = evaluation
    first = item_rows(items[0], measures)
    assert [(row.source, row.label) for row in first] == [
        (source, label) for source in ("music", "voice") for label in ("one", "two")
    ]
    assert [row.cells[0].is_best for row in first] == [False, False, False, True]
    (failed,) = item_rows(items[2], measures)
    assert (failed.label, failed.error) == ("one", "no")


def test_mean_rows_agree_with_the_panel_of_means(evaluation):
    runs, items, measures = evaluation
    rows = {item.id: {row.label: row for row in mean_rows(item, measures)} for item in items}
    assert [cell.value for cell in rows["a"]["one"].cells] == [2.0, 5.0]
    assert [cell.is_best for cell in rows["a"]["one"].cells] == [False, True]
    assert [cell.is_best for cell in rows["a"]["two"].cells] == [True, False]
    assert (rows["c"]["one"].error, rows["c"]["one"].cells) == ("no", ())
    for column, plot in enumerate(panels(runs, items, measures)[0].plots):
        for box in plot.boxes:
            values = [rows[item.id][box.label].cells for item in items if box.label in rows[item.id]]
            figures = sorted(cells[column].value for cells in values if cells and not math.isnan(cells[column].value))
            assert len(figures) == box.summary.count
            assert (figures[0], figures[-1]) == box.summary.extremes


def test_plots_have_a_point_for_each_item(evaluation):
    runs, items, measures = evaluation
    plot = panels(runs, items, measures)[2].plots[0]
    assert [len(box.points) for box in plot.boxes] == [2, 1]  # the infinite one has no place
    assert plot.boxes[0].points[1].text == "b: 8.00 dB"
    assert plot.boxes[0].points[1].item == 1
    for box in plot.boxes:
        assert 0 <= box.start <= box.low <= box.middle <= box.high <= box.end <= plot.width


@pytest.mark.parametrize("values", [[0.0], [5.0, 5.0], [-3.0, 1e-6], [1e9, 1e9 + 1], [1e-9, 3e-9], []])
def test_plots_of_any_figures(values):
    plot = box_plot(measure_of("sdr"), {"a": dict(enumerate(values)), "b": {}}, {0: "x", 1: "y"})
    places = [x for x, _ in plot.ticks]
    assert places == sorted(places)
    assert 2 <= len(places) <= 8
    assert all(0 <= x <= plot.width for x in places)
    assert all(0 <= point.x <= plot.width for point in plot.boxes[0].points)


def test_of_many_items_the_outliers_are_drawn():
    values = dict(enumerate([*np.linspace(0, 1, 500).tolist(), 50.0]))
    (box,) = box_plot(measure_of("sdr"), {"a": values}, {number: str(number) for number in values}).boxes
    assert [point.item for point in box.points] == [500]


LETTERS = st.characters(categories=["L", "N"]) | st.just(" ")
LABELS = st.text(LETTERS, min_size=1) | st.text(LETTERS, min_size=60)


@given(st.lists(LABELS, min_size=1, max_size=5, unique=True))
def test_labels_of_plots_are_wrapped_without_overlap(labels):
    plot = box_plot(measure_of("sdr"), {label: {0: 1.0} for label in labels}, {0: "x"})
    ends = 0.0
    for box, label in zip(plot.boxes, labels, strict=True):
        assert "".join(line for _, line in box.lines).replace(" ", "") == label.replace(" ", "")
        assert all(len(line) <= 48 for _, line in box.lines if line.strip())
        heights = [y for y, _ in box.lines]
        assert heights[0] - 12 >= ends  # a line of text above its baseline
        assert all(below - above >= 14 for above, below in pairwise(heights))
        assert box.y - 5.5 > heights[-1]
        ends = box.points[0].y
    assert plot.height - 18 > ends


def test_items_with_other_sources_have_panels_of_their_own(tmp_path):
    pair = {"music": {"si_sdr": 1.0}, "voice": {"si_sdr": 3.0}}
    write_run(tmp_path, "one", [result("a", pair), result("b", scores(9.0)), {"id": "c", "error": "no"}])
    runs = read_runs([tmp_path])
    found = panels(runs, items_of_runs(runs), measures_of(runs))
    assert [(panel.title, panel.rows[0].cells[0].value) for panel in found] == [
        ("Mean of the sources \N{MIDDLE DOT} 1 item of music, voice", 2.0),
        ("music \N{MIDDLE DOT} 1 item of music, voice", 1.0),
        ("voice \N{MIDDLE DOT} 1 item of music, voice", 3.0),
        ("voice \N{MIDDLE DOT} 1 item of voice", 9.0),
    ]


def test_baselines_and_oracles_do_not_compete(tmp_path):
    values = {"mix": (150.0, "baseline"), "good": (5.0, "method"), "ideal": (20.0, "oracle"), "poor": (1.0, "method")}
    for label, (value, role) in values.items():
        write_run(tmp_path, label, [result("a", scores(value)), result("b", scores(value + 1.0))], role=role)
    runs = read_runs([tmp_path])
    items = items_of_runs(runs)
    (panel,) = panels(runs, items, measures_of(runs))
    assert [row.label for row in panel.rows] == ["good", "poor", "mix", "ideal"]
    assert [row.label for row in panel.rows if row.cells[0].is_best] == ["good"]
    assert not any(row.speed.is_best for row in panel.rows if row.role != "method")
    assert [row.label for row in item_rows(items[0], measures_of(runs)) if row.cells[0].is_best] == ["good"]


def test_axis_follows_the_robust_range_of_the_methods():
    spread = dict(enumerate([1.0, 2.0, 3.0, 4.0, 5.0, 300.0]))
    figures = {"one": spread, "mix": dict.fromkeys(range(6), 151.0), "ideal": dict.fromkeys(range(6), 7.0)}
    plot = box_plot(measure_of("sar"), figures, {number: str(number) for number in range(6)}, ["one"])
    assert [text for _, text in plot.ticks][-1] in {"7", "8"}  # as far as the oracle, not the baseline or the outlier
    outlier = next(point for point in plot.boxes[0].points if point.text.startswith("5: 300"))
    assert outlier.x == plot.boxes[1].middle == plot.ticks[-1][0]
