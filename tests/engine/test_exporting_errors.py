"""What export refuses, and that it leaves existing files as they are."""

import pickle
from pathlib import Path

import pytest
import torch
from engine.exported_models import mask_estimation, same

import torchsep
from torchsep.checkpoint import save
from torchsep.engine.export import exporting
from torchsep.engine.export.exporting import ExportOptions, export_model
from torchsep.separators import HPSS, EnsembleClustering
from torchsep.transforms import STFT


def listed(folder):
    return sorted(path.name for path in folder.iterdir())


class Bomb:
    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return Path.touch, (self.victim,)


def test_a_hostile_run_is_refused_and_not_run(tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "a.ckpt"
    torch.save({"torchsep": Bomb(victim)}, path)
    for content in (path.read_bytes(), pickle.dumps(Bomb(victim))):
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"a\.ckpt is not a checkpoint of a training run, or is damaged: .*"
        ) as error:
            export_model(path, tmp_path / "model")
        assert "\n" not in str(error.value)
    assert not victim.exists()
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "is not a checkpoint of `torchsep train`"),
        ({"state_dict": {}}, "is not a checkpoint of `torchsep train`"),
        ({"torchsep": {"config": 3}, "state_dict": {}}, "is not a checkpoint of `torchsep train`"),
        ({"torchsep": {"config": {"name": "hpss"}}}, "is not a checkpoint of `torchsep train`"),
        ({"torchsep": {"config": {"name": "os"}}, "state_dict": {}}, "cannot be built: separator must be a registered"),
        ({"torchsep": {"config": {"name": "hpss", "sample_rate": 2**62}}, "state_dict": {}}, "far more memory"),
        (
            {
                "torchsep": {"config": {"name": "hpss", "sample_rate": 8000}},
                "state_dict": {"separator.x": torch.zeros(1)},
            },
            "does not fit hpss: x missing",
        ),
    ],
)
def test_other_runs_are_refused(content, message, tmp_path):
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=message):
        export_model(tmp_path / "a.ckpt", tmp_path / "model")


def test_weights_that_are_not_finite_are_refused(tmp_path):
    separator = mask_estimation()
    state = {f"separator.{name}": tensor * torch.nan for name, tensor in separator.state_dict().items()}
    torch.save({"torchsep": {"config": separator.config}, "state_dict": state}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="NaN or infinite"):
        export_model(tmp_path / "a.ckpt", tmp_path / "model")


def test_nothing_to_export(tmp_path):
    for source in (tmp_path / "a.ckpt", "nothing", tmp_path / "a.safetensors"):
        with pytest.raises(FileNotFoundError):
            export_model(source, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_only_an_export_is_overwritten(tmp_path):
    path = save(mask_estimation(), tmp_path / "one")
    folder = tmp_path / "model"
    folder.mkdir()
    export_model(path, folder)  # an empty one
    (folder / "network.onnx").touch()
    with pytest.raises(ValueError, match=r"must be new or empty unless it may be overwritten, .* has README\.md$"):
        export_model(path, folder)
    other = mask_estimation(1)
    assert len(export_model(save(other, tmp_path / "two"), folder, ExportOptions(overwrite=True))) == 3
    assert same(torchsep.load(folder), other)
    (folder / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"must have only files of an export to be overwritten, .* has thesis\.tex$"):
        export_model(path, folder, ExportOptions(overwrite=True))
    with pytest.raises(ValueError, match=r"folder must be new or empty, got the file .*one\.safetensors$"):
        export_model(path, path, ExportOptions(overwrite=True))
    assert listed(tmp_path) == ["model", "one.safetensors", "two.safetensors"]


@pytest.mark.parametrize("step", ["card", "rename"])
def test_a_failure_leaves_what_was_there(step, tmp_path, monkeypatch):
    path = save(mask_estimation(), tmp_path / "one")
    export_model(path, tmp_path / "model")
    before = {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()}
    original = Path.rename

    def fail(*arguments):
        if step == "card" or arguments[0].name.endswith(".tmp"):
            raise OSError(28, "No space left on device")
        return original(*arguments)

    monkeypatch.setattr(*((exporting, "model_card") if step == "card" else (Path, "rename")), fail)
    with pytest.raises(OSError, match="No space left on device"):
        export_model(save(mask_estimation(1), tmp_path / "two"), tmp_path / "model", ExportOptions(overwrite=True))
    assert {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()} == before
    assert listed(tmp_path) == ["model", "one.safetensors", "two.safetensors"]


@pytest.mark.parametrize("option", ["onnx", "program"])
def test_without_one_network_there_is_no_graph(option, tmp_path):
    ensemble = EnsembleClustering(
        [mask_estimation(), mask_estimation(1)], num_sources=2, sample_rate=8000, stft=STFT(16)
    )
    for separator, message in ((HPSS(sample_rate=8000), "hpss with 0"), (ensemble, "ensemble_clustering with 2")):
        with pytest.raises(ValueError, match=f"onnx and program need a separator with one network, got {message}$"):
            export_model(save(separator, tmp_path / "one"), tmp_path / "model", ExportOptions(**{option: True}))
    assert listed(tmp_path) == ["one.safetensors"]
