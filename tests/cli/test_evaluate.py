"""`torchsep evaluate` on scenes made in memory and on files written here."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from typer.testing import CliRunner

import torchsep
from torchsep import audio
from torchsep.cli.main import app
from torchsep.engine import evaluations, run_evaluation, summarise
from torchsep.engine.evaluate import measures, result_reader

SCENES = ["data=scenes", "data.num_items=4", "data.duration=3", "data.sample_rate=8000", "evaluation.metrics=[si_sdr]"]


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def scores(output):
    return (output / "summary.md").read_text().split("times real time")[0]


def test_several_separators_in_one_table(tmp_path):
    result = run("-m", "separator=ideal_ratio_mask,repet,mix_as_estimate", *SCENES, f"output={tmp_path}")
    assert result.exit_code == 0, result.output
    rows = {
        row["separator"]: row
        for row in json.loads((tmp_path / "summary.json").read_text())["rows"]
        if not row["source"]
    }
    assert set(rows) == {"ideal_ratio_mask", "repet", "mix_as_estimate"}
    assert all(row["items"] == 4 and row["failed"] == 0 for row in rows.values())
    assert rows["ideal_ratio_mask"]["figures"]["si_sdr"]["median"] > 10
    assert rows["mix_as_estimate"]["figures"]["si_sdr_improvement"]["mean"] == pytest.approx(0, abs=1e-4)
    assert "| voice " in result.output
    first = lines(tmp_path / "repet" / "results.jsonl")[0]
    assert first["id"] == "test/000000"
    assert first["duration"] == 3.0
    assert set(first["sources"]) == {"music", "voice"}
    described = json.loads((tmp_path / "repet" / "run.json").read_text())
    assert described["torchsep"] == torchsep.__version__
    assert "Le Roux" in described["metrics"]["si_sdr"]
    assert described["data"]["num_items"] == 4


def test_a_sweep_scores_the_mixture_once_and_parses_results_once(tmp_path, monkeypatch):
    scored, parsed = [], []
    known = measures.MEASURES["si_sdr"]
    counted = known._replace(compute=lambda *given: scored.append(1) or known.compute(*given))
    monkeypatch.setitem(measures.MEASURES, "si_sdr", counted)
    read = result_reader._read_outcomes
    monkeypatch.setattr(result_reader, "_read_outcomes", lambda path: parsed.append(path) or read(path))
    sweep = ["-m", "separator=hpss,repet,ft2d", *SCENES, f"output={tmp_path}"]
    assert run(*sweep).exit_code == 0
    assert len(scored) == (3 + 1) * 4  # of each item three separators and the mixture
    assert not parsed  # what was just written is known
    assert run(*sweep).exit_code == 0
    assert len(parsed) == 3


def test_scores_are_those_of_the_separator_itself(tmp_path):
    assert run("separator=hpss", *SCENES, f"output={tmp_path}", "separator.kernel_size=17").exit_code == 0
    (job,) = evaluations(SCENES)
    scene = torchsep.data.Scenes(num_items=4, duration=3, sample_rate=8000)[1]
    estimates = torchsep.build("hpss", sample_rate=8000, kernel_size=17)(scene["mixture"])
    expected = torchsep.metrics.si_sdr(estimates, scene["sources"]).mean(-1)
    swapped = torchsep.metrics.si_sdr(estimates.flip(0), scene["sources"]).mean(-1)
    best = max(expected, swapped, key=lambda values: values.sum().item())
    found = lines(tmp_path / "hpss" / "results.jsonl")[1]["sources"]
    assert [found[name]["si_sdr"] for name in ("music", "voice")] == pytest.approx(best.tolist(), abs=1e-3)
    assert job.label == "hpss"


@pytest.mark.parametrize("left", [0, 1, 3])
def test_a_run_that_was_interrupted_goes_on(tmp_path, left):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for output in (whole, parts):
        assert run("separator=repet", *SCENES, f"output={output}").exit_code == 0
    results = parts / "repet" / "results.jsonl"
    kept = results.read_text().splitlines(keepends=True)[:left]
    results.write_text("".join(kept) + '{"id": "test/00')
    result = run("separator=repet", *SCENES, f"output={parts}")
    assert f"{4 - left} items to score" in result.output
    assert scores(parts) == scores(whole)
    assert "0 items to score" in run("separator=repet", *SCENES, f"output={parts}").output


def test_an_interrupt_leaves_what_is_done(tmp_path):
    (job,) = evaluations([*SCENES, f"output={tmp_path}"])
    seen = []

    def stop_at_second(news):
        seen.append(news)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_evaluation(job, stop_at_second)
    assert len(lines(tmp_path / "hpss" / "results.jsonl")) == 2
    assert len(run_evaluation(job).outcomes) == 4
    assert summarise(tmp_path).rows[0].items == 4


@pytest.mark.slow
def test_control_c_ends_the_command_and_the_next_one_goes_on(tmp_path):
    output = f"output={tmp_path}"
    many = [*SCENES, "data.num_items=200", "data.duration=4", output]
    command = [sys.executable, "-c", "from torchsep.cli import main; main()", "evaluate", "separator=hpss", *many]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    results = tmp_path / "hpss" / "results.jsonl"
    deadline = time.monotonic() + 120
    while not (results.exists() and results.read_text().count("\n") >= 3):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "; start again to resume" in said
    assert "Traceback" not in said
    assert all(record["sources"] for record in lines(results))


def test_sources_of_files_matched_by_name_or_by_the_best_score(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for number, rate in enumerate((8000, 16000)):
        for name in ("percussive", "harmonic"):
            sound = 0.1 * torch.randn(1, rate, generator=generator)
            audio.write(_made(tmp_path / "data" / f"item {number}" / f"{name}.wav"), sound, rate)
    data = ["data=stem_folder", f"data.root={tmp_path / 'data'}", "evaluation.metrics=[snr]"]
    for match, expected in (("auto", "harmonic"), ("best", None)):
        output = tmp_path / match
        assert run("separator=hpss", *data, f"output={output}", f"evaluation.match={match}").exit_code == 0
        records = lines(output / "hpss" / "results.jsonl")
        assert [record["sample_rate"] for record in records] == [8000, 16000]
        assert expected in {None, records[0]["sources"]["harmonic"]["estimate"]}


def test_a_broken_item_is_named_and_the_others_are_scored(tmp_path):
    for name in ("a", "b"):
        for stem in ("music", "voice"):
            audio.write(_made(tmp_path / "data" / name / f"{stem}.wav"), torch.rand(1, 8000) - 0.5, 8000)
    broken = tmp_path / "data" / "b" / "voice.wav"
    data = [
        "data=stem_folder",
        f"data.root={tmp_path / 'data'}",
        "evaluation.metrics=[snr]",
        f"output={tmp_path / 'out'}",
    ]
    (job,) = evaluations(["separator=hpss", *data])
    run_evaluation(job)
    broken.write_bytes(broken.read_bytes()[:6000])
    stat = broken.stat()
    os.utime(broken, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    result = run("separator=repet", *data, "overwrite=true")
    assert result.exit_code in {1, 2}
    assert "voice.wav" in result.output


def test_audio_of_the_first_items_is_written_once_for_all_separators(tmp_path):
    result = run("-m", "separator=hpss,repet", *SCENES, f"output={tmp_path}", "evaluation.save_audio=2")
    assert result.exit_code == 0, result.output
    records = lines(tmp_path / "repet" / "results.jsonl")
    assert ["audio" in record for record in records] == [True, True, False, False]
    paths = records[0]["audio"]
    assert set(paths["estimates"]) == {"background", "foreground"}
    scene = torchsep.data.Scenes(num_items=4, duration=3, sample_rate=8000)[0]
    for path, true in ((paths["mixture"], scene["mixture"]), (paths["references"]["voice"], scene["sources"][1])):
        assert torch.allclose(audio.read(tmp_path / path)[0], true, atol=1e-6)
    assert len(list((tmp_path / "references").rglob("*.flac"))) == 6


def test_a_checkpoint_is_scored_under_its_name(tmp_path):
    separator = torchsep.build("high_low_pass_filter", cutoff_hz=500.0, sample_rate=16000)
    torchsep.save(separator, tmp_path / "mine.safetensors")
    result = run(f"separator={tmp_path / 'mine.safetensors'}", *SCENES, f"output={tmp_path / 'out'}")
    assert result.exit_code == 0, result.output
    assert len(lines(tmp_path / "out" / "mine" / "results.jsonl")) == 4


@pytest.mark.slow
def test_two_processes_share_the_items(tmp_path):
    two = ["trainer.devices=2", "trainer.accelerator=cpu", f"output={tmp_path / 'two'}"]
    (shared,) = evaluations([*SCENES, *two])
    (alone,) = evaluations([*SCENES, f"output={tmp_path / 'one'}"])
    assert set(run_evaluation(shared).outcomes) == {f"test/{number:06d}" for number in range(4)}
    run_evaluation(alone)
    assert len(list((tmp_path / "two" / "hpss").glob("results*.jsonl"))) == 2
    for output in ("one", "two"):
        summarise(tmp_path / output)
    assert scores(tmp_path / "one") == scores(tmp_path / "two")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["separator=hpss"], "data must be chosen, as in data=scenes; there are"),
        (["separator=hpss,repet", *SCENES], "several values need -m, got separator=hpss,repet"),
        (["separator=hpss", "data=musdb18hq"], "data is missing required values: data.root=..."),
        (["separator=hpss", "data=nothing"], "data must be one of the presets, got 'nothing'; there are "),
        (["separator=rpet", *SCENES], "did you mean repet?"),
        (["separator=hpss", "separator.margn=2", *SCENES], "hpss has no argument 'margn'"),
        (["separator=wiener_filter", *SCENES], "wiener_filter refines estimates"),
        (["separator=hpss", *SCENES, "evaluation.metrics=[sdrr]"], "evaluation.metrics must be"),
        (["separator=hpss", *SCENES, "data.num_items=-1"], "num_items must be at least 1, got -1"),
        (["separator=hpss", "nonsense", *SCENES], "nonsense"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, arguments, message):
    result = run(*arguments, f"output={tmp_path / 'out'}")
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_results_of_another_configuration_are_not_touched(tmp_path):
    assert run("separator=repet", *SCENES, f"output={tmp_path}").exit_code == 0
    before = (tmp_path / "repet" / "results.jsonl").read_bytes()
    other = ["separator=repet", "separator.min_period=0.9", *SCENES, f"output={tmp_path}"]
    result = run(*other)
    assert result.exit_code == 2
    assert "choose another output, or overwrite=true" in result.output
    assert (tmp_path / "repet" / "results.jsonl").read_bytes() == before
    assert run(*other, "overwrite=true").exit_code == 0
    assert (tmp_path / "repet" / "results.jsonl").read_bytes() != before


def _made(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
