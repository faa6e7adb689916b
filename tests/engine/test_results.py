"""Results on disk: a run that is ended at any moment can be gone on with, and the table is that of what lies there."""

import json
import math

import pytest
import torch

from torchsep.engine.evaluate.result_reader import read_run
from torchsep.engine.evaluate.result_writer import Results, begin_run
from torchsep.engine.evaluate.summary import summarise

WHAT = {"separator": {"name": "repet", "min_period": 0.8}, "metrics": {"snr": "in dB"}, "label": "repet", "sources": []}


def record(identity, *values, seconds=0.5):
    sources = {f"s{number}": {"estimate": "x", "snr": value} for number, value in enumerate(values)}
    return {"id": identity, "duration": 4.0, "seconds": seconds, "sources": sources}


def test_results_come_back_also_those_that_are_no_numbers(tmp_path):
    begin_run(tmp_path / "repet", WHAT, {"threads": 1})
    results = Results(tmp_path / "repet")
    results.append(record("a/é", math.nan, -math.inf))
    results.append({"id": "b", "error": "b.wav is missing"})
    run = read_run(tmp_path / "repet")
    assert list(run.outcomes) == ["a/é", "b"]
    scores = run.outcomes["a/é"].scores
    assert math.isnan(scores["s0"]["snr"])
    assert scores["s1"]["snr"] == -math.inf
    assert run.outcomes["b"].error == "b.wav is missing"
    assert (run.label, run.settings["threads"]) == ("repet", 1)


def test_a_half_written_line_is_taken_off_and_the_rest_kept(tmp_path):
    begin_run(tmp_path, WHAT, {})
    results = Results(tmp_path)
    results.append(record("a", 1.0))
    with results.path.open("a") as file:
        file.write('{"id": "b", "sou')
    assert list(read_run(tmp_path).outcomes) == ["a"]
    begin_run(tmp_path, WHAT, {"threads": 7})
    results.append(record("b", 2.0))
    assert list(read_run(tmp_path).outcomes) == ["a", "b"]


def test_processes_have_files_of_their_own_and_a_result_counts_more_than_an_error(tmp_path):
    begin_run(tmp_path, WHAT, {})
    Results(tmp_path).append({"id": "a", "error": "it failed"})
    Results(tmp_path).append(record("c", 3.0))
    Results(tmp_path, writer=1).append(record("b", 2.0))
    Results(tmp_path, writer=1).append({"id": "c", "error": "it failed"})
    Results(tmp_path, writer=1).append(record("a", 1.0))
    outcomes = read_run(tmp_path).outcomes
    assert {id_: outcome.error for id_, outcome in outcomes.items()} == {"a": None, "b": None, "c": None}
    assert len(list(tmp_path.glob("results*.jsonl"))) == 2


def test_results_of_something_else_are_not_mixed_in(tmp_path):
    begin_run(tmp_path, WHAT, {"threads": 1})
    other = {**WHAT, "separator": {"name": "repet", "min_period": 1.0}}
    with pytest.raises(ValueError, match=r'was run with separator .*"min_period": 0.8.*, not .*"min_period": 1.0'):
        begin_run(tmp_path, other, {})


def test_the_table_holds_medians_means_and_their_intervals(tmp_path):
    begin_run(tmp_path / "repet", {**WHAT, "sources": ["s0", "s1"]}, {})
    results = Results(tmp_path / "repet")
    for number, (low, high) in enumerate(((0.0, 2.0), (2.0, 4.0), (10.0, 12.0), (math.nan, 7.0))):
        results.append(record(f"item {number}", low, high))
    results.append({"id": "broken", "error": "no"})
    summary = summarise(tmp_path)
    every, first, second = summary.rows
    assert (every.source, first.source, second.source) == ("", "s0", "s1")
    assert (every.items, every.failed, summary.speeds) == (4, 1, {"repet": 8.0})
    assert every.figures["snr"].median == 5.0
    assert every.figures["snr"].mean == 5.5
    assert first.figures["snr"].count == 3
    assert first.figures["snr"].median == 2.0
    assert second.figures["snr"].mean == 6.25
    deviation = torch.tensor([1.0, 3.0, 11.0, 7.0]).std().item()
    assert every.figures["snr"].margin == pytest.approx(3.182446 * deviation / 2)  # Student's t of three degrees
    written = json.loads((tmp_path / "summary.json").read_text())
    assert written["rows"][0]["figures"]["snr"]["median"] == 5.0
    line = next(line for line in (tmp_path / "summary.md").read_text().splitlines() if "| all " in line)
    assert line.replace(" ", "") == "|repet|all|4|1|5.00|5.50|7.06|"


def test_the_table_of_nothing_but_failures(tmp_path):
    begin_run(tmp_path / "repet", WHAT, {})
    Results(tmp_path / "repet").append({"id": "a", "error": "no"})
    summary = summarise(tmp_path)
    (row,) = summary.rows
    assert (row.items, row.failed, summary.speeds) == (0, 1, {"repet": 0.0})
    assert "repet" in summarise(tmp_path).as_text()
