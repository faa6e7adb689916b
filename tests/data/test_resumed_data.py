"""Batches of a resumed run, and the share of each device."""

import pytest
import pytorch_lightning as pl
from data.loaded_items import FakeTrainer, Items, Listener, Stream, trainer

from torchsep.data.module import SeparationData

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes"),  # on one core
    pytest.mark.filterwarnings("ignore:.*GPU available but not used.*"),
    pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero"),
]


def test_a_resumed_run_goes_on_as_it_would_have(tmp_path):
    whole, first, second = Listener(), Listener(), Listener()
    data = [SeparationData(Items(), batch_size=2, num_workers=workers) for workers in (0, 0, 2)]
    trainer(tmp_path, max_epochs=4).fit(whole, datamodule=data[0])
    half = trainer(tmp_path, max_epochs=2)
    half.fit(first, datamodule=data[1])
    half.save_checkpoint(tmp_path / "half.ckpt")
    trainer(tmp_path, max_epochs=4).fit(second, datamodule=data[2], ckpt_path=tmp_path / "half.ckpt")
    assert first.seen["train"] + second.seen["train"] == whole.seen["train"]


class StopError(Exception):
    """Exception that interrupts a run."""


class Stop(pl.Callback):
    """Interrupts a run before its nth step, and saves a checkpoint."""

    def __init__(self, path, step):
        self.path = path
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            raise StopError


def seen_by_a_run(tmp_path, dataset, step=None, resume=None, num_workers=0):
    listener = Listener()
    data = SeparationData(dataset(), batch_size=2, num_workers=num_workers, seed=5)
    stops = [] if step is None else [Stop(tmp_path / "middle.ckpt", step)]
    fitted = trainer(tmp_path, max_epochs=3, callbacks=stops)
    if stops:
        with pytest.raises(StopError):
            fitted.fit(listener, datamodule=data)
    else:
        fitted.fit(listener, datamodule=data, ckpt_path=resume)
    return listener.seen["train"]


@pytest.mark.parametrize(("dataset", "workers"), [(Items, (0, 0)), (Items, (2, 0)), (Items, (0, 1)), (Stream, (0, 0))])
@pytest.mark.parametrize("step", [1, 2, 3, 4, 8])
def test_a_run_resumed_within_an_epoch_sees_what_it_has_not_seen(tmp_path, dataset, workers, step):
    whole = seen_by_a_run(tmp_path, dataset)
    first = seen_by_a_run(tmp_path, dataset, step, num_workers=workers[0])
    second = seen_by_a_run(tmp_path, dataset, resume=tmp_path / "middle.ckpt", num_workers=workers[1])
    assert len(first) == step
    assert first + second == whole


@pytest.mark.parametrize("dataset", [Items, Stream])
@pytest.mark.parametrize("batches", [1, 3])
def test_more_epochs_after_the_last(tmp_path, dataset, batches):
    first, second = Listener(), Listener()
    data = [SeparationData(dataset(), batch_size=6 // batches) for _ in range(2)]
    half = trainer(tmp_path, max_epochs=2)
    half.fit(first, datamodule=data[0])
    half.save_checkpoint(tmp_path / "half.ckpt")
    trainer(tmp_path, max_epochs=3).fit(second, datamodule=data[1], ckpt_path=tmp_path / "half.ckpt")
    values = [value for batch in second.seen["train"] for value in batch]
    assert sorted(values) == [200.0 + number for number in range(6)]


@pytest.mark.parametrize("dataset", [Items, Stream])
def test_a_loader_goes_on_once_where_its_state_says(dataset):
    loader = SeparationData(dataset(), batch_size=2).train_dataloader()
    loader.epoch = lambda: 0
    whole = [batch["id"] for batch in loader]
    for done in range(4):
        loader.load_state_dict({"batches": done})
        assert [batch["id"] for batch in loader] == whole[done:]
        assert [batch["id"] for batch in loader] == whole
    assert loader.state_dict() == {"batches": 0}  # where no trainer counts


def test_each_device_goes_on_in_its_share():
    for rank in (0, 1):
        data = SeparationData(Items(8), batch_size=2)
        data.trainer = FakeTrainer(rank)
        loader = data.train_dataloader()
        whole = [batch["id"] for batch in loader]
        loader.load_state_dict({"batches": 1})
        assert [batch["id"] for batch in loader] == whole[1:]
        assert len(whole) == 2
