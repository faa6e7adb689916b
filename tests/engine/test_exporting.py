"""Released models: what is in the folder, where it comes from, and that it is whole or not there."""

import hashlib
import json
import shutil
import warnings

import pytest
import pytorch_lightning as pl
import torch
from engine.exported_models import mask_estimation, same
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from scenes import noise

import torchsep
from torchsep.checkpoint import read_header, save
from torchsep.engine.export.exporting import ExportOptions, export_model
from torchsep.separators import HPSS

METRIC = {"name": "SI-SDR | improvement", "value": 9.0123, "unit": "dB", "definition": "mean", "data": "test split"}


ABOUT = {
    "summary": "Two speakers,\napart.",
    "training": {"data": "speech8k", "seconds": 7260, "objective": {"name": "pit"}, "lr": 1 / 3},
    "metrics": [METRIC],
    "licences": {"weights": "CC-BY-4.0", "data": "public domain"},
    "references": ["A. Author, <b>, 2020."],
}


class Task(pl.LightningModule):
    """As little as a training run of torchsep has."""

    def __init__(self, separator):
        super().__init__()
        self.separator = separator
        self.objective = torch.nn.Linear(1, 1)  # weights that are not the separator's

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.1)

    def training_step(self, batch, index):
        return self.separator(batch)[:, 0].square().mean()

    def on_save_checkpoint(self, checkpoint):
        checkpoint["torchsep"] = {"config": self.separator.config}


def trained(folder, *callbacks):
    """A checkpoint of Lightning's, written while it trained, and the task that it is of."""
    task = Task(mask_estimation())
    keeper = ModelCheckpoint(folder, "last", every_n_train_steps=3, save_on_train_epoch_end=False)
    options = {"logger": False, "enable_model_summary": False, "enable_progress_bar": False, "accelerator": "cpu"}
    mixtures = torch.utils.data.DataLoader(noise(6, 1, 200).float(), batch_size=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on workers and on itself
        pl.Trainer(max_steps=3, callbacks=[keeper, *callbacks], **options).fit(task, mixtures)
    return folder / "last.ckpt", task


def test_a_released_checkpoint_is_exported(tmp_path):
    separator = mask_estimation()
    path = save(separator, tmp_path / "one", about=ABOUT)
    files = export_model(path, tmp_path / "models" / "speakers")
    assert [file.name for file in files] == ["README.md", "config.json", "model.safetensors"]
    assert files[0].parent == tmp_path / "models" / "speakers"
    assert same(torchsep.load(tmp_path / "models" / "speakers"), separator)
    assert json.loads(files[1].read_text()) == read_header(path)
    assert [entry.name for entry in (tmp_path / "models").iterdir()] == ["speakers"]


def test_contents_of_the_model_card(tmp_path):
    path = save(mask_estimation(), tmp_path / "one", about=ABOUT)
    card, _, model = export_model(path, tmp_path / "speakers")
    text = card.read_text()
    front, _, body = text.removeprefix("---\n").partition("\n---\n")
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(front) == {
        "library_name": "torchsep",
        "pipeline_tag": "audio-to-audio",
        "tags": ["audio-source-separation", "torchsep", "deep_mask_estimation"],
        "license": "cc-by-4.0",
    }
    parameters = sum(parameter.numel() for parameter in mask_estimation().parameters())
    sources = "2 sources (source_1, source_2) at 8000 Hz, any number of channels"
    facts = f"`deep_mask_estimation` with `mask_inference`: {sources}; {parameters:,} parameters in 0.0 MB."
    for line in (
        "# speakers",
        "Two speakers, apart.",
        facts,
        'separator = torchsep.load("speakers")  # the path of this folder, or hub:USER/NAME',
        "torchsep separate mixture.wav -s speakers",
        "- data: speech8k",
        "- seconds: 7260 (2 h 1 min)",
        '- objective: `{"name": "pit"}`',
        "- lr: 0.3333",
        "| SI-SDR \\| improvement | 9.012 dB | test split | mean |",
        "- weights: CC-BY-4.0",
        "- A. Author, &lt;b>, 2020.",
    ):
        assert f"\n{line}\n" in body, line
    assert hashlib.sha256(model.read_bytes()).hexdigest() in body
    assert not [line for line in body.splitlines() if len(line) > 200 and not line.startswith("|")]


def test_the_card_of_a_model_without_metadata(tmp_path):
    card, _, _ = export_model(save(HPSS(sample_rate=8000), tmp_path / "one"), tmp_path / "tones")
    text = card.read_text()
    assert "license" not in text
    assert "`hpss`: 2 sources (harmonic, percussive) at 8000 Hz" in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## Use", "## File"]


def test_metadata_is_replaced_by_the_given_one(tmp_path):
    path = save(mask_estimation(), tmp_path / "one", about=ABOUT)
    more = {"training": {"lr": 0.5, "speakers": 79}, "licences": {"weights": "My own licence: none"}, "metrics": []}
    card, config, _ = export_model(path, tmp_path / "speakers", about=more)
    told = json.loads(config.read_text())["about"]
    assert told["training"] == {**ABOUT["training"], "lr": 0.5, "speakers": 79}
    assert told["licences"] == {"weights": "My own licence: none", "data": "public domain"}
    assert told["metrics"] == []
    assert told["summary"] == ABOUT["summary"]
    assert 'license: "other"\nlicense_name: "My own licence: none"\n' in card.read_text()
    with pytest.raises(ValueError, match="metrics in about must have name, value and definition"):
        export_model(path, tmp_path / "other", about={"metrics": [{"name": "SDR"}]})
    assert not (tmp_path / "other").exists()


def test_half_precision(tmp_path):
    separator = mask_estimation()
    export_model(save(separator, tmp_path / "one"), tmp_path / "half", ExportOptions(half=True))
    again = torchsep.load(tmp_path / "half")
    weight = separator.network.mask_head.linear.weight
    assert torch.equal(again.network.mask_head.linear.weight, weight.half().float())
    assert torch.equal(again.network.mask_head.linear.bias, separator.network.mask_head.linear.bias)


def test_a_training_run_is_exported(tmp_path):
    path, task = trained(tmp_path)
    export_model(path, tmp_path / "model")
    assert same(torchsep.load(tmp_path / "model"), task.separator)
    assert not same(torchsep.load(tmp_path / "model"), mask_estimation())
    assert read_header(tmp_path / "model")["about"] == {"training": {"steps": 3}}


def test_averaged_weights_are_exported(tmp_path):
    path, _ = trained(tmp_path, EMAWeightAveraging(decay=0.9))
    content = torch.load(path, weights_only=True)
    export_model(path, tmp_path / "model")
    again = torchsep.load(tmp_path / "model")
    name = "network.mask_head.linear.bias"
    assert torch.equal(again.state_dict()[name], content["state_dict"][f"separator.{name}"])
    assert not torch.equal(again.state_dict()[name], content["current_model_state"][f"separator.{name}"])


def test_weights_that_are_not_averaged_yet_are_exported_as_they_are(tmp_path):
    path, _ = trained(tmp_path, EMAWeightAveraging(update_starting_at_step=100))
    content = torch.load(path, weights_only=True)
    assert content["averaging_state"]["n_averaged"] == 0
    export_model(path, tmp_path / "model")
    name = "network.mask_head.linear.bias"
    weights = torchsep.load(tmp_path / "model").state_dict()[name]
    assert torch.equal(weights, content["current_model_state"][f"separator.{name}"])


def test_metadata_of_a_training_run(tmp_path):
    separator = mask_estimation()
    state = {f"separator.{name}": tensor for name, tensor in separator.state_dict().items()}
    entry = {"config": separator.config, "about": ABOUT}
    torch.save({"torchsep": entry, "state_dict": state, "global_step": 5}, tmp_path / "a.ckpt")
    export_model(tmp_path / "a.ckpt", tmp_path / "model")
    assert read_header(tmp_path / "model")["about"] == ABOUT


def test_an_export_is_exported(tmp_path):
    export_model(save(mask_estimation(), tmp_path / "one", about=ABOUT), tmp_path / "first")
    export_model(tmp_path / "first", tmp_path / "second")
    assert (tmp_path / "first" / "model.safetensors").read_bytes() == (
        tmp_path / "second" / "model.safetensors"
    ).read_bytes()
    shutil.move(tmp_path / "first" / "model.safetensors", tmp_path / "second.safetensors")
    with pytest.raises(FileNotFoundError):
        export_model(tmp_path / "first", tmp_path / "third")


@pytest.mark.slow
def test_the_network_as_a_graph(tmp_path):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    separator = mask_estimation().eval()
    options = ExportOptions(half=True, onnx=True, program=True)
    files = export_model(save(separator, tmp_path / "one"), tmp_path / "model", options)
    names = ["README.md", "config.json", "model.safetensors", "network.onnx", "network.pt2"]
    assert [file.name for file in files] == names
    magnitude = noise(2, 1, 9, 30).abs().float()
    expected = torchsep.load(tmp_path / "model").network(magnitude)
    session = onnxruntime.InferenceSession(tmp_path / "model" / "network.onnx")
    torch.testing.assert_close(torch.from_numpy(session.run(None, {"mixture": magnitude.numpy()})[0]), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.load(tmp_path / "model" / "network.pt2")
    torch.testing.assert_close(program.module()(magnitude), expected)
