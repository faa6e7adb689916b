"""Separators that are fitted in closed form, by the command."""

import pytest
import torch
from typer.testing import CliRunner

import torchsep
from torchsep import audio
from torchsep.cli.main import app

RATE = 16000


def tones(*frequencies, seconds=1.0):
    time = torch.arange(int(seconds * RATE)) / RATE
    return 0.1 * sum(torch.sin(2 * torch.pi * frequency * time) for frequency in frequencies)[None]


@pytest.fixture
def recordings(tmp_path):
    root = tmp_path / "isolated"
    for name, frequencies in (("low", (200, 330)), ("high", (2000, 3100))):
        (root / name).mkdir(parents=True)
        for number, frequency in enumerate(frequencies):
            audio.write(root / name / f"{number}.wav", tones(frequency), RATE)
    return root


def invoke(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_dictionaries_from_folders_by_one_command(recordings, tmp_path):
    fit = ["train", "separator=supervised_nmf", f"train_data.root={recordings}", f"output={tmp_path / 'out'}"]
    result = invoke(*fit, "train_data.num_items=12", "separator.n_components=4", "train_data.duration=0.5")
    assert result.exit_code == 0, result.output
    model = tmp_path / "out" / "model.safetensors"
    assert result.stdout.splitlines()[-1] == f"Written: {model}"
    separator = torchsep.load(model)
    assert (separator.names, separator.sample_rate, separator.n_components) == (("high", "low"), RATE, 4)
    sources = torch.stack((tones(2000, 3100), tones(200, 330)))
    estimates = separator(sources.sum(0))
    assert torchsep.metrics.si_sdr(estimates, sources).min() > 20
    again = invoke(*fit)
    assert again.exit_code == 2
    assert "output must not hold another model" in again.stderr
    assert invoke(*fit, "overwrite=true", "train_data.num_items=2", "separator.max_iter=2").exit_code == 0


def test_names_and_rate_may_be_chosen(recordings, tmp_path):
    own = ["separator.names=[birds, drone]", "sample_rate=8000", "train_data.num_items=2", "separator.max_iter=2"]
    fit = ["train", "separator=supervised_nmf", f"train_data.root={recordings}", f"output={tmp_path / 'out'}", *own]
    assert invoke(*fit).exit_code == 0
    separator = torchsep.load(tmp_path / "out")
    assert (separator.names, separator.sample_rate) == (("birds", "drone"), 8000)


def test_any_data_set_with_sources(tmp_path):
    data = ["data@train_data=scenes", "train_data.num_items=1", "train_data.duration=1", "train_data.sample_rate=8000"]
    fit = ["train", "separator=supervised_nmf", *data, "sample_rate=8000", "separator.max_iter=2"]
    assert invoke(*fit, f"output={tmp_path}").exit_code == 0
    assert torchsep.load(tmp_path).names == ("music", "voice")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["train_data.root=/no/such/place"], "/no/such/place: is no folder; train_data.root must hold the recordings"),
        ([], "train_data is missing required values: root=..."),
        (["data@train_data=scenes"], "sample_rate must be given for data without a root"),
    ],
)
def test_what_is_missing_is_one_line(tmp_path, more, message):
    result = invoke("train", "separator=supervised_nmf", f"output={tmp_path / 'out'}", *more)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
