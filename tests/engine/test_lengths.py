"""Items of different lengths in one batch."""

import pytest
import pytorch_lightning as pl
import torch
from scenes import noise

from torchsep import build
from torchsep.data import SeparationData
from torchsep.engine import SeparationTask, WaveformObjective
from torchsep.engine.lightning import quiet


class Items(torch.utils.data.Dataset):
    """Tones and clicks of different durations; the second source of one item is silent."""

    lengths = (4000, 6000, 6000, 17000)

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, index):
        time = torch.arange(self.lengths[index]) / 8000
        clicks = 0.05 * noise(len(time), seed=index).float()
        clicks[::1000] += 3
        sources = torch.stack((torch.sin(2 * torch.pi * (220 + 50 * index) * time), clicks))[:, None]
        if index == 1:
            sources[1] = 0.0
        return {"mixture": sources.sum(0), "sources": sources, "id": str(index), "sample_rate": 8000}


def figures(separator, size):
    off = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    data = SeparationData(valid=Items(), batch_size=size)
    with quiet():
        trainer = pl.Trainer(accelerator="cpu", **off)
        (found,) = trainer.validate(SeparationTask(separator, WaveformObjective()), datamodule=data, verbose=False)
    return found


@pytest.mark.parametrize(("name", "arguments"), [("hpss", {}), ("ft2d", {}), ("repet", {"min_period": 0.1})])
def test_validation_does_not_depend_on_the_batch(name, arguments):
    separator = build(name, sample_rate=8000, **arguments)
    alone, together = figures(separator, 1), figures(separator, 4)
    assert together == pytest.approx(alone, abs=1e-3)


def test_training_loss_of_an_item_does_not_depend_on_the_batch():
    hpss = build("hpss", trainable=["power"], sample_rate=8000)
    task = SeparationTask(hpss, WaveformObjective())
    task.log = lambda *_, **__: None
    losses = {}
    for size in (1, 4):
        batches = SeparationData(train=Items(), batch_size=size).train_dataloader()
        losses[size] = torch.stack([task.training_step(batch, 0) for batch in batches]).mean()
    assert torch.allclose(losses[1], losses[4], atol=1e-3)


def test_estimates_keep_their_places():
    (batch,) = SeparationData(valid=Items(), batch_size=4).val_dataloader()
    task = SeparationTask(build("hpss", sample_rate=8000), WaveformObjective())
    task.log = lambda *_, **__: None
    estimates = task.validation_step(batch, 0)["estimates"]
    assert estimates.shape == batch["sources"].shape
    for number, length in enumerate(Items.lengths):
        assert not estimates[number, ..., length:].any()
        assert torch.allclose(estimates[number, ..., :length].sum(0), batch["mixture"][number, :, :length], atol=1e-4)
