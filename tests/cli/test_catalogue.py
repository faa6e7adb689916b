"""`torchsep list`, `info` and `demo`."""

import re

import pytest
import soundfile
from typer.testing import CliRunner

import torchsep
from torchsep.checkpoint import released
from torchsep.cli.main import app


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_list_has_one_line_for_each():
    result = run("list")
    assert result.exit_code == 0
    lines = result.output.strip().splitlines()
    assert [line.split()[0] for line in lines] == [*torchsep.list_separators(), *released()]
    assert re.search(r"hpss +harmonic, percussive +Harmonic-percussive", result.output)
    assert "(needs the true sources)" in lines[torchsep.list_separators().index("ideal_ratio_mask")]


@pytest.mark.parametrize("name", torchsep.list_separators())
def test_info_describes_every_parameter(name):
    result = run("info", name)
    assert result.exit_code == 0
    for argument in torchsep.registry.separator_class(name).arguments():
        described = re.search(rf"(?m)^  {argument} \((required|default .*?)\): (.+)$", result.output)
        assert described, argument
        assert len(described[2]) > 10


def test_info_gives_defaults_and_reference():
    output = run("info", "hpss").output
    assert "kernel_size (default 31)" in output
    assert "sample_rate (required)" in output
    assert "DAFx 2010" in output


def test_info_of_a_checkpoint_is_its_card():
    name = released()[0]
    assert f"# {name}" in run("info", name).output


def test_info_of_an_unknown_name():
    result = run("info", "hpps")
    assert result.exit_code == 2
    assert result.output.strip().endswith("did you mean hpss?")


def test_version():
    assert run("--version").output == f"torchsep {torchsep.__version__}\n"


def test_unknown_command_suggests():
    result = run("seperate")
    assert result.exit_code == 2
    assert "separate" in result.output


def test_demo_gains_and_writes(tmp_path):
    result = run("demo", "-o", tmp_path, "--duration", 8)
    assert result.exit_code == 0, result.output
    gains = {name: float(gain) for name, gain in re.findall(r"(?m)^(music|voice) .*\+([\d.]+)$", result.output)}
    assert min(gains["music"], gains["voice"]) > 4.0
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["estimated_music.wav", "estimated_voice.wav", "mixture.wav", "true_music.wav", "true_voice.wav"]
    assert {soundfile.info(path).frames for path in tmp_path.iterdir()} == {8 * 44100}


def test_demo_of_an_oracle_is_better(tmp_path):
    output = run("demo", "-o", tmp_path, "-s", "ideal_ratio_mask", "--duration", 3).output
    assert all(float(gain) > 10 for gain in re.findall(r"\+([\d.]+)", output))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-s", "repett"], "did you mean repet?"),
        (["-s", "mix_as_estimate", "-p", "num_sources=3"], "must give two sources"),
        (["-p", "perid=2"], "did you mean period?"),
        (["--duration", "0"], "duration must"),
    ],
)
def test_demo_refuses_in_one_line(tmp_path, arguments, message):
    result = run("demo", "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
