"""Headers whose configuration cannot be built are refused."""

import pytest
import torch
from checkpoint.examples import DEEP, assert_refused, write_checkpoint
from safetensors.torch import save as to_bytes


@pytest.mark.parametrize("version", [0, 2, "1", None, [1], 1.5])
def test_other_format_versions_are_refused(version, tmp_path):
    message = assert_refused(write_checkpoint(tmp_path / "one", format_version=version), "has format version")
    assert f"has format version {version!r}, this torchsep reads 1" in message


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {"format": "pt"},
        {"torchsep": ""},
        {"torchsep": "{"},
        {"torchsep": "[]"},
        {"torchsep": "{}"},
        {"torchsep": "null"},
        {"torchsep": '{"config": "hpss", "format_version": 1}'},
        {"torchsep": '{"config": null, "format_version": 1}'},
        {"torchsep": '{"config": {"name": "hpss"}, "config": {"name": "repet"}, "format_version": 1}'},
        {"torchsep": '{"config": {"name": "hpss", "power": NaN}, "format_version": 1}'},
        {"torchsep": "9" * 5000},
        {"torchsep": "[" * 200_000},
        {"torchsep": '{"config":' + '{"a":' * 100_000},
    ],
    ids=lambda metadata: str(metadata)[:40],
)
def test_other_safetensors_files_are_refused(metadata, tmp_path):
    path = tmp_path / "one.safetensors"
    path.write_bytes(to_bytes({"weight": torch.zeros(3)}, metadata=metadata))
    assert_refused(path, "is not a torchsep checkpoint: its header does not say what to build")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "scalez", "sample_rate": 8000}, "separator must be a registered name, got 'scalez'"),
        ({"name": "os.system", "sample_rate": 8000}, "separator must be a registered name, got 'os.system'"),
        ({"name": "stft", "n_fft": 8}, "separator must be a registered name, got 'stft'"),
        ({"sample_rate": 8000}, "separator must be a name"),
        ({}, "separator must be a name"),
        ({"name": 3}, "separator must be a name"),
        ({"name": ["scales"]}, "separator must be a name"),
        ({"name": "scales", "sample_rate": 8000, "size": 3}, "scales has no argument 'size'; did you mean sizes"),
        ({"name": "scales", "sample_rate": 8000, "__class__": 3}, "scales has no argument '__class__'"),
        ({"name": "scales"}, "scales must be given sample_rate"),
        ({"name": "scales", "sample_rate": "8000"}, "sample_rate must be an integer, got '8000'"),
        ({"name": "scales", "sample_rate": -1}, "sample_rate must be at least 1, got -1"),
        ({"name": "scales", "sample_rate": 8000, "gain": 1e999}, "does not say what to build"),
        ({"name": "scales", "sample_rate": 8000, "gain": 10**400}, "integers among the arguments must add up to"),
        ({"name": "scales", "sample_rate": 8000, "gain": "g" * 100_000}, "gain must be a number"),
        ({"name": "scales" * 10_000, "sample_rate": 8000}, "separator must be a registered name"),
        ({"name": "scales", "sample_rate": 8000, "x" * 100_000: 1}, "scales has no argument 'xxx"),
        ({"name": "scales", "sample_rate": 8000, "sizes": None}, "cannot be built"),
        ({"name": "scales", "sample_rate": 8000, "sizes": ["3", "2"]}, "cannot be built"),
        ({"name": "scales", "sample_rate": 8000, "sizes": [-3, 2]}, "cannot be built"),
        ({"name": "scales", "sample_rate": 8000, "sizes": {"name": "stft", "n_fft": 8}}, "cannot be built"),
        ({"name": "broken", "sample_rate": 8000}, "cannot be built: 'two.*lines'$"),
        ({"name": "broken", "sample_rate": 8000, "error": "FileNotFoundError"}, "cannot be built: two lines$"),
        ({"name": "broken", "sample_rate": 8000, "error": "MemoryError"}, "cannot be built: two lines$"),
        ({"name": "scales", "sample_rate": 8000, "gain": {"name": "os"}}, "name must be registered, got 'os'"),
        ({"name": "scales", "sample_rate": 8000, "gain": {"name": {}}}, "name must be registered"),
        ({"name": "hpss", "sample_rate": 8000, "stft": "x"}, "stft must be an STFT or None"),
        ({"name": "hpss", "sample_rate": 8000, "trainable": 3}, "trainable must be a sequence of names"),
        ({"name": "hpss", "sample_rate": 8000, "trainable": [["power"]]}, "trainable must name parameters"),
        ({"name": "hpss", "sample_rate": 8000, "trainable": [{}]}, "trainable must name parameters"),
        ({"name": "hpss", "sample_rate": 8000, "power": DEEP}, "does not say what to build .nested too deeply.$"),
        ({"name": "hpss", "sample_rate": 8000, "margin": [[1], [2]]}, "margin must be a number"),
        ({"name": "hpss", "sample_rate": 8000, "stft": {"name": "stft", "n_fft": 8, "window": 3}}, "window must"),
        ({"name": "hpss", "sample_rate": 8000, "stft": {"name": "stft", "n_fft": 8, "window": []}}, "window must"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_invalid_configs_are_refused(config, message, tmp_path):
    assert_refused(write_checkpoint(tmp_path / "one", {}, config=config), message)


def test_header_that_contradicts_its_config_is_refused(tmp_path):
    for change in ({"names": ["voice"]}, {"sample_rate": 44100}, {"names": None}, {"sample_rate": "8000"}):
        assert_refused(write_checkpoint(tmp_path / "one", **change), "contradicts itself")
