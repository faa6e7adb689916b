"""`torchsep report` on results and files written here."""

import pytest
import torch
import typer
from typer.testing import CliRunner

from torchsep import audio
from torchsep.cli.report import report as command
from torchsep.report import sounds


def report(*arguments):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, list(map(str, arguments)))


def write_sources(folder, names=("voice", "music")):
    for number, name in enumerate(names):
        audio.write(folder / f"{name}.wav", torch.full((2, 1600), 0.1 * (number + 1)), 8000)
    return folder


def write_results(folder, row='{"id": "a", "duration": 1, "seconds": 2, "sources": {"voice": {"sdr": 1.5}}}'):
    (folder / "hpss").mkdir(parents=True)
    (folder / "hpss/results.jsonl").write_text(f"{row}\n")
    return folder


def test_results_become_a_page(tmp_path):
    result = report(write_results(tmp_path / "eval"), "-o", tmp_path / "deep/page.html")
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"{tmp_path / 'deep/page.html'}: 1 separator, 1 item (0 with audio), 0.")
    assert result.output.strip().endswith(" MB")
    assert "1.50" in (tmp_path / "deep/page.html").read_text(encoding="utf-8")


def test_files_become_a_page_with_their_mixture(tmp_path):
    write_sources(tmp_path / "separated/song")
    write_sources(tmp_path / "separated/other")
    write_sources(tmp_path / "in", ["song"])
    result = report(tmp_path / "separated", "--mixture", tmp_path / "in/song.wav", "-o", tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count("<audio ") == 5
    assert text.count('aria-label="Mixture"') >= 1
    assert '<h2 id="items-title">Listen</h2>' in text


def test_what_cannot_be_read_makes_exit_code_1(tmp_path):
    write_sources(tmp_path / "song")
    (tmp_path / "song/bad.wav").write_bytes(b"RIFF nonsense")
    result = report(tmp_path / "song", "-o", tmp_path / "page.html")
    assert result.exit_code == 1
    last = result.output.strip().splitlines()[-1]
    assert last.startswith("torchsep: 1 track could not be read and were left out of ")
    assert "bad.wav" in result.output
    assert (tmp_path / "page.html").read_text(encoding="utf-8").count("<audio ") == 2


def test_an_interrupted_report_is_no_page(tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("torchsep.report.views.audio_uri", stop)
    result = report(write_sources(tmp_path / "song"), "-o", tmp_path / "page.html")
    assert result.exit_code == 130
    assert result.output == "torchsep: interrupted; no page was written\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["song"]


def test_the_audio_format_and_its_limit_are_said(tmp_path, monkeypatch):
    write_sources(tmp_path / "song")
    assert ", flac, 0." in report(tmp_path / "song", "-o", tmp_path / "page.html").output
    assert f"{sounds.SIZE_LIMIT / 1e6:g} MB" in " ".join(report("--help").output.replace("│", " ").split())
    monkeypatch.setattr("torchsep.report.sounds.SIZE_LIMIT", 1.0)
    output = report(tmp_path / "song", "-o", tmp_path / "page.html").output
    assert ", mp3, 0." in output
    assert output.endswith("MB; fewer --seconds or --items make it smaller\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "missing does not exist"),
        (["eval", "song"], "results and audio cannot be on one page, got"),
        (["eval", "--mixture", "song/voice.wav"], "--mixture goes with audio files"),
        (["song", "--audio", "ogg"], "audio must be one of auto, flac, mp3, got 'ogg'"),
        (["song", "--seconds", "-1"], "seconds must be at least 0, got -1"),
        (["song", "--items", "-1"], "items must be at least 0, got -1"),
        (["song", "--items", "0"], "items must be at least 1 where there are no results"),
        (["song", "--masks"], "masks need a mixture to compare with"),
        (["song", "-o", "song/voice.wav"], "output must be a file that ends in .html"),
        (["eval", "-o", "eval/hpss/results.jsonl"], "output must be a file that ends in .html"),
        (["empty"], "holds no audio file"),
        (["damaged"], "results.jsonl, line 1: is not JSON"),
    ],
)
def test_wrong_usage_is_one_line_and_writes_nothing(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_results(tmp_path / "eval")
    write_results(tmp_path / "damaged", "{")
    write_sources(tmp_path / "song")
    (tmp_path / "empty").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    result = report(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.startswith("torchsep: ")
    assert len(result.output.strip().splitlines()) == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
