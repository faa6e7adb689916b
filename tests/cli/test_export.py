"""`torchsep export`."""

import pytest
import torch
import typer
from typer.testing import CliRunner

import torchsep
from torchsep.checkpoint import read_header
from torchsep.cli.export import export
from torchsep.engine.export import exporting

app = typer.Typer()
app.command()(export)


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def checkpoint(tmp_path):
    return torchsep.save(torchsep.build("hpss", kernel_size=5, sample_rate=8000), tmp_path / "one")


def test_a_checkpoint_becomes_a_folder(checkpoint, tmp_path):
    (tmp_path / "about.yaml").write_text("summary: Tones and onsets.\nlicences: {weights: MIT}\n")
    result = run(checkpoint, "-o", tmp_path / "tones", "--half", "--about", tmp_path / "about.yaml")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        f"{tmp_path / 'tones' / name}: 0.00 MB" for name in ("README.md", "config.json", "model.safetensors")
    ]
    assert torchsep.load(tmp_path / "tones").kernel_size == 5
    assert read_header(tmp_path / "tones")["about"] == {"summary": "Tones and onsets.", "licences": {"weights": "MIT"}}


def test_a_training_run_becomes_a_folder(tmp_path):
    separator = torchsep.build("hpss", power=3.0, sample_rate=8000, trainable=("power",))
    state = {f"separator.{name}": tensor for name, tensor in separator.state_dict().items()}
    torch.save({"torchsep": {"config": separator.config}, "state_dict": state}, tmp_path / "last.ckpt")
    result = run(tmp_path / "last.ckpt", "-o", tmp_path / "tones")
    assert result.exit_code == 0, result.output
    assert torchsep.load(tmp_path / "tones").power.item() == pytest.approx(3.0)


def test_overwriting_is_asked_for(checkpoint, tmp_path):
    assert run(checkpoint, "-o", tmp_path / "tones").exit_code == 0
    result = run(checkpoint, "-o", tmp_path / "tones")
    assert result.exit_code == 2
    assert "torchsep: folder must be new or empty unless it may be overwritten" in result.output
    assert run(checkpoint, "-o", tmp_path / "tones", "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "torchsep: nothing is neither a checkpoint file nor a folder with model.safetensors"),
        (("none.ckpt",), "torchsep: none.ckpt is not there"),
        (("one.safetensors", "--onnx"), "onnx and program need a separator with one network, got hpss with 0"),
        (("one.safetensors", "--about", "none.yaml"), "No such file or directory: 'none.yaml'"),
        (("one.safetensors", "--about", "list.yaml"), "--about must hold a mapping, list.yaml does not"),
        (("one.safetensors", "--about", "wrong.yaml"), "--about must be a YAML file, wrong.yaml is not: "),
        (("one.safetensors", "--about", "date.yaml"), "about and arguments must be plain values"),
        (("hub:nobody",), "source must be hub:user/name or hub:user/name@revision"),
    ],
)
def test_mistakes_are_one_line(arguments, message, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.yaml").write_text("[1, 2]")
    (tmp_path / "wrong.yaml").write_text("a: [")
    (tmp_path / "date.yaml").write_text("made: 2020-01-01")
    result = run(*arguments, "-o", "out")
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_interrupt_leaves_nothing(checkpoint, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, "model_card", interrupt)
    result = run(checkpoint, "-o", tmp_path / "out")
    assert result.exit_code == 130
    assert result.output == "torchsep: interrupted; nothing was written\n"
    assert [path.name for path in tmp_path.iterdir()] == ["one.safetensors"]
