"""ICA, whose estimates have one channel, through all that separators go through."""

import pytest
import pytorch_lightning as pl
import torch
from scenes import noise

from torchsep import build
from torchsep.data import SeparationData
from torchsep.engine import SeparationTask, WaveformObjective
from torchsep.engine.lightning import quiet


class Items(torch.utils.data.Dataset):
    """Instantaneous mixtures of two sources of heavy-tailed noise."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        dry = noise(2, 8000, seed=index).float() ** 3
        sources = torch.tensor([[1.0, 0.4], [0.3, 1.0]])[:, :, None] * dry[:, None]
        return {"mixture": sources.sum(0), "sources": sources, "id": str(index), "sample_rate": 8000}


@pytest.mark.parametrize(
    "separator",
    [
        build("ica", sample_rate=8000),
        build("refine", separator="ica", refiner="wiener_filter", sample_rate=8000),
        build("overlap_add", separator="ica", window_duration=0.6, find_permutation=True, sample_rate=8000),
    ],
    ids=lambda separator: type(separator).__name__,
)
def test_validation_and_test(separator):
    off = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(accelerator="cpu", enable_checkpointing=False, **off)
    data = SeparationData(valid=Items(), test=Items(), batch_size=2)
    task = SeparationTask(separator, WaveformObjective())
    for scores, stage in ((trainer.validate, "valid"), (trainer.test, "test")):
        with quiet():
            (found,) = scores(task, datamodule=data, verbose=False)
        assert found[f"{stage}/si_sdr_improvement"] > 10


@pytest.mark.parametrize("weights", [None, [1.0, 0.1]])
def test_ensemble(weights):
    arguments = {"extracted_feature": "estimates", "weights": weights, "sample_rate": 8000}
    ensemble = build("ensemble_clustering", separators=["ica", "hpss"], **arguments)
    item = Items()[0]
    assert ensemble(item["mixture"]).shape == (2, 2, 8000)
    alone = build("ensemble_clustering", separators=["ica"], extracted_feature="estimates", sample_rate=8000)
    error = min((alone(item["mixture"])[order] - item["sources"]).square().sum() for order in ([0, 1], [1, 0]))
    assert error < (item["mixture"] - item["sources"]).square().sum() / 4
