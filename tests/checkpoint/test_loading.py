"""Saved separators are restored with equal parameters and estimates."""

import pytest
import torch
from checkpoint.examples import Layers, trained
from scenes import noise

from torchsep.checkpoint import load, save
from torchsep.separators import HPSS, HighLowPassFilter, MixAsEstimate, Repet
from torchsep.transforms import STFT


@pytest.mark.parametrize(
    "separator",
    [
        HPSS((17, 9), margin=(1.5, 2.0), sample_rate=8000, stft=STFT(64, window=("kaiser", 8.0)), trainable=["margin"]),
        HighLowPassFilter(900.0, sample_rate=8000, mask_type="soft", trainable=("cutoff_hz",)),
        MixAsEstimate(3, sample_rate=8000),
        Repet(0.05, period=0.07, sample_rate=8000),
    ],
    ids=lambda separator: type(separator).__name__,
)
def test_separators_are_restored(separator, tmp_path):
    separator.train()
    restored = load(save(separator, tmp_path / "one"))
    assert type(restored) is type(separator)
    assert not restored.training
    assert separator.training
    assert restored.config == separator.config
    mixture = noise(3, 2, 1500)
    assert torch.equal(restored(mixture), separator(mixture))


def test_parameters_and_buffers_are_restored(tmp_path):
    separator = trained()
    restored = load(save(separator, tmp_path / "one"))
    assert restored.steps == 7
    assert restored.steps.dtype == torch.int64
    assert {name: tensor.tolist() for name, tensor in restored.state_dict().items()} == {
        name: tensor.tolist() for name, tensor in separator.state_dict().items()
    }
    assert all(parameter.requires_grad for parameter in restored.parameters())
    assert restored.gain.item() == separator.gain.item() != pytest.approx(0.5)


def test_shared_and_strided_tensors_are_saved(tmp_path):
    separator = Layers(2, sample_rate=8000)
    separator.layers[1].weight = torch.nn.Parameter(torch.arange(4.0).reshape(2, 2).T)
    separator.layers[0].weight = separator.layers[1].weight
    restored = load(save(separator, tmp_path / "one"))
    assert restored.layers[0].weight.tolist() == restored.layers[1].weight.tolist() == [[0, 2], [1, 3]]


def test_loading_draws_no_random_numbers(tmp_path):
    path = save(Layers(sample_rate=8000), tmp_path / "one")
    before = torch.random.get_rng_state()
    load(path)
    assert torch.equal(torch.random.get_rng_state(), before)
