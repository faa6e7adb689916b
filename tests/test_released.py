"""Released checkpoints load by name, separate, and describe their training."""

import pytest
import torch

import torchsep
from torchsep.checkpoint import read_header
from torchsep.resources import resource_folder

NAMES = sorted(path.parent.name for path in resource_folder("checkpoints").glob("*/model.safetensors"))


def test_something_is_released():
    assert NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_released_model_separates(name):
    separator = torchsep.load(name)
    mixture = torch.randn(2, 1, 8000, generator=torch.Generator().manual_seed(0))
    estimates = separator(mixture)
    assert estimates.shape == (2, len(separator.names), 1, 8000)
    assert estimates.isfinite().all()
    assert not separator.training


@pytest.mark.parametrize("name", NAMES)
def test_a_released_model_is_small_and_tells_where_it_comes_from(name):
    folder = resource_folder("checkpoints") / name
    assert (folder / "model.safetensors").stat().st_size < 20e6
    about = read_header(name)["about"]
    assert {"summary", "training", "metrics", "licences", "references"} <= set(about)
    card = (folder / "README.md").read_text(encoding="utf-8")
    for metric in about["metrics"]:
        assert f"{metric['value']:.4g} {metric['unit']}" in card
        assert metric["data"]
    assert about["licences"]["weights"] in card
