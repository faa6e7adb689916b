"""The memory needed to load a checkpoint is bounded by the size of its file."""

import pytest
import torch
from checkpoint.examples import Layers, Scales, assert_refused, write_checkpoint

from torchsep.checkpoint import load, save


@pytest.mark.parametrize(
    "config",
    [
        {"name": "scales", "sizes": [10**9, 10**9]},
        {"name": "scales", "sizes": [2**15, 2**14]},  # two gigabytes
        {"name": "scales", "sizes": [2**20, 2**20, 2**20, 2**20]},
        {"name": "layers", "num_layers": 10**9},
        {"name": "layers", "num_layers": 10**6},
        {"name": "layers", "num_constants": 2**22 - 10},  # an outer product
        {"name": "mix_as_estimate", "num_sources": 10**9},
        {"name": "ensemble_clustering", "separators": [{"name": "mix_as_estimate", "num_sources": 2**21}] * 1000},
        {"name": "hpss", "stft": {"name": "stft", "n_fft": 2**30}},
        {"name": "hpss", "sample_rate": 2**62},
        {"name": "hpss", "sample_rate": 10**30},
    ],
    ids=lambda config: str(config)[:60],
)
def test_configs_that_need_much_memory_are_refused(config, tmp_path, monkeypatch):
    built = []
    monkeypatch.setattr(torch.nn, "Linear", lambda *sizes, of=torch.nn.Linear: built.append(1) or of(*sizes))
    assert_refused(write_checkpoint(tmp_path / "one", {}, config={"sample_rate": 8000, **config}), "cannot be built: ")
    assert len(built) < 20_000


def test_large_files_may_need_as_much_memory(tmp_path):
    """Two megabytes of weights are loaded, also by a separator with constants computed at construction."""
    separator = Scales((1024, 512), sample_rate=8000)
    assert load(save(separator, tmp_path / "one")).weight.shape == (1024, 512)
    layers = Layers(300, 1000, sample_rate=8000)
    restored = load(save(layers, tmp_path / "two"))
    assert torch.equal(restored.layers[299].weight, layers.layers[299].weight)
    assert torch.equal(restored.constant, layers.constant)
