"""Reading of complete and damaged evaluation folders."""

import json
import math

import pytest
from report.fake_evaluation import result, scores, write_evaluation, write_run

from torchsep.engine.evaluate.result_reader import is_evaluation, read_runs
from torchsep.report.heading import heading_of_runs
from torchsep.report.items import items_of_runs


def test_figures_audio_and_settings_are_read(tmp_path):
    write_evaluation(tmp_path)
    runs = read_runs([tmp_path])
    assert [run.label for run in runs] == ["first", "second"]
    outcome = runs[1].outcomes["b/c"]
    assert outcome.scores == {"voice": {"si_sdr": 5.0, "errors": 11.0}}
    assert outcome.estimates == {"voice": "foreground"}
    assert outcome.mixture == tmp_path / "references/1/mixture.flac"
    assert outcome.audio == {"voice": tmp_path / "second/audio/1/foreground.flac"}
    assert runs[0].settings["data"]["name"] == "ramps"


def test_a_single_run_and_its_evaluation_are_one_thing(tmp_path):
    write_evaluation(tmp_path)
    assert is_evaluation(tmp_path / "first")
    assert is_evaluation(tmp_path)
    assert not is_evaluation(tmp_path / "references")
    assert len(read_runs([tmp_path / "first"])) == 1
    assert len(read_runs([tmp_path / "first", tmp_path])) == 2


def test_what_is_not_a_number(tmp_path):
    odd = {"voice": {"estimate": "x", "a": None, "b": "inf", "c": "-inf", "d": 3}}
    write_run(tmp_path, "odd", [result("a", odd, seconds=None)])
    (outcome,) = read_runs([tmp_path])[0].outcomes.values()
    figures = outcome.scores["voice"]
    assert math.isnan(figures["a"])
    assert (figures["b"], figures["c"], figures["d"]) == (math.inf, -math.inf, 3.0)
    assert math.isnan(outcome.seconds)


def test_errors_are_kept_and_a_second_attempt_counts(tmp_path):
    rows = [{"id": "a", "error": "too\nshort"}, {"id": "b", "error": "bad"}, result("b", scores(1.0))]
    write_run(tmp_path, "run", rows)
    outcomes = read_runs([tmp_path])[0].outcomes
    assert outcomes["a"].error == "too short"
    assert outcomes["b"].error is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"id": "b", "sou', "line 2: is not JSON: "),
        ("[1]", "line 2: must be an object with an id, got [1]"),
        ('{"sources": {}}', "line 2: must be an object with an id"),
        ('{"id": "b", "sources": [1]}', "line 2: sources must be an object, got [1]"),
        ('{"id": "b", "sources": {"v": {"si_sdr": "good"}}}', "line 2: si_sdr must be a number, null"),
        ('{"id": "b", "sources": {}, "audio": {"mixture": "../../secret.wav"}}', "line 2: audio must lie in"),
        ('{"id": "b", "sources": {}, "audio": {"references": {"v": "/etc/passwd"}}}', "line 2: audio must lie in"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, row, message):
    write_run(tmp_path, "run", [result("a", scores(1.0)), row, result("c", scores(1.0))])
    with pytest.raises(ValueError, match=r"results\.jsonl, line 2: ") as caught:
        read_runs([tmp_path])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_last_line_that_is_half_written_is_left_out(tmp_path):
    run = write_run(tmp_path, "run", [result("a", scores(1.0))])
    whole = json.dumps(result("b", scores(2.0)))
    with (run / "results.jsonl").open("a") as stream:
        stream.write(whole[:30])
    assert list(read_runs([tmp_path])[0].outcomes) == ["a"]
    with (run / "results.jsonl").open("a") as stream:
        stream.write(whole[30:])
    assert list(read_runs([tmp_path])[0].outcomes) == ["a", "b"]


def test_nothing_and_nonsense_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no results\.jsonl"):
        read_runs([tmp_path])
    run = write_run(tmp_path, "run", [])
    with pytest.raises(ValueError, match="must hold at least one item, got none"):
        read_runs([tmp_path])
    (run / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run\.json is not JSON"):
        read_runs([tmp_path])
    (run / "run.json").write_text("[]")
    with pytest.raises(ValueError, match=r"run\.json must hold an object, got list"):
        read_runs([tmp_path])


def test_runs_of_one_label_are_distinguished(tmp_path):
    for folder in ("one", "two"):
        write_run(tmp_path / folder, "hpss", [result("a", scores(1.0))])
    labels = [run.label for run in read_runs([tmp_path / "one", tmp_path / "two"])]
    assert labels == ["hpss (one)", "hpss (two)"]


def test_tracks_are_in_the_order_of_sources(tmp_path):
    write_evaluation(tmp_path)
    items = items_of_runs(read_runs([tmp_path]))
    assert [item.id for item in items] == ["a", "b/c", "d"]
    assert [track.name for track in items[0].tracks] == ["Mixture", "Reference, voice", "first, voice", "second, voice"]
    assert list(items[0].outcomes) == ["first", "second"]


def test_estimates_called_by_their_own_names_find_their_source(tmp_path):
    write_run(tmp_path, "run", [result("a", scores(1.0), {"estimates": {"foreground": "run/audio/a/foreground.flac"}})])
    (track,) = items_of_runs(read_runs([tmp_path]))[0].tracks
    assert (track.source, track.separator) == ("voice", "run")


def test_the_heading_describes_the_run(tmp_path):
    write_evaluation(tmp_path)
    runs = read_runs([tmp_path])
    heading = heading_of_runs(runs, items_of_runs(runs))
    facts = dict(heading.facts)
    assert heading.title == "first and second on ramps"
    assert facts["Data"] == "ramps, items=3"
    assert facts["Started"] == "1 January 2026 to 2 January 2026"
    assert facts["Versions"] == "torchsep 0.1.0, torch 2.11.0"
    assert facts["Computed on"] == "cpu, a small one"
    assert heading.warnings == ()


def test_the_heading_warns_of_unequal_runs(tmp_path):
    write_run(tmp_path, "one", [result("a", scores(1.0)), result("b", scores(1.0))])
    write_run(tmp_path, "two", [result("a", scores(1.0)), {"id": "b", "error": "no"}])
    (warning,) = heading_of_runs(read_runs([tmp_path]), []).warnings
    assert "Not all separators have results for all items" in warning
    write_run(tmp_path, "three", [result("a", scores(1.0))], data={"name": "other"})
    (warning,) = heading_of_runs(read_runs([tmp_path]), []).warnings
    assert "different data" in warning
