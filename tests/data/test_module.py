"""The Lightning data module."""

import pytest
import torch
from data.loaded_items import FakeTrainer, Items, Listener, Stream, trainer
from torch.utils.data import DistributedSampler

from torchsep.data.augmented import Remix
from torchsep.data.module import SeparationData, collate
from torchsep.data.scenes import Scenes

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes"),  # on one core
    pytest.mark.filterwarnings("ignore:.*GPU available but not used.*"),
    pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero"),
]


def item(name="a", length=5, sources=2, channels=1, rate=8000):
    waveforms = torch.arange(1.0, 1 + sources * channels * length).view(sources, channels, length)
    return {"mixture": waveforms.sum(0), "sources": waveforms, "id": name, "sample_rate": rate}


def test_collate_stacks():
    batch = collate([item("a"), item("b")])
    assert batch["mixture"].shape == (2, 1, 5)
    assert batch["sources"].shape == (2, 2, 1, 5)
    assert (batch["id"], batch["sample_rate"], batch["lengths"].tolist()) == (["a", "b"], 8000, [5, 5])


def test_collate_pads_to_the_longest():
    batch = collate([item("a", 3), item("b", 5), item("c", 1)])
    assert batch["lengths"].tolist() == [3, 5, 1]
    for row, one in zip(range(3), (item("a", 3), item("b", 5), item("c", 1)), strict=True):
        length = batch["lengths"][row]
        for name in ("mixture", "sources"):
            assert torch.equal(batch[name][row][..., :length], one[name])
            assert not batch[name][row][..., length:].any()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (item("b", rate=16000), "one sample rate, got 8000 of a and 16000 of b$"),
        (item("b", sources=3), "one number of sources, got 2 of a and 3 of b$"),
        (item("b", channels=2), "one number of channels, got 1 of a and 2 of b$"),
        (item("b", length=6), r"one length in samples \(or pad=True\), got 5 of a and 6 of b$"),
    ],
)
def test_collate_names_items_that_do_not_go_together(other, message):
    with pytest.raises(ValueError, match=f"^items of a batch must have {message}"):
        collate([item("a"), item("a2"), other], pad=False)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_training_is_shuffled_by_seed_and_epoch_alone(num_workers):
    def epochs(seed, count=3):
        torch.rand(3)  # must not depend on the global state
        data = SeparationData(Items(), batch_size=4, num_workers=num_workers, seed=seed)
        loader = data.train_dataloader()
        return [[batch["mixture"][:, 0, 0].tolist() for batch in loader] for _ in range(count)]

    first = epochs(0)
    assert first == epochs(0)
    assert first[0] != epochs(1, 1)[0]
    orders = [[value / 2 - 100 * number for batch in epoch for value in batch] for number, epoch in enumerate(first)]
    assert all(sorted(order) == list(range(6)) for order in orders)  # also: the data set knows its epoch
    assert orders[0] != orders[1] != orders[2]


def test_validation_and_test_are_in_order_and_never_change():
    data = SeparationData(valid=Items(5), test=Items(3), batch_size=2)
    for _ in range(2):
        assert [batch["id"] for batch in data.val_dataloader()] == [["0", "1"], ["2", "3"], ["4"]]
        assert [batch["id"] for batch in data.test_dataloader()] == [["0", "1"], ["2"]]


def test_what_is_not_there_is_named():
    assert SeparationData().val_dataloader() == []
    with pytest.raises(ValueError, match=r"^train must be a data set, got None$"):
        SeparationData().train_dataloader()
    with pytest.raises(ValueError, match=r"^test must be a data set, got None$"):
        SeparationData().test_dataloader()


@pytest.mark.parametrize("dataset", [Items, Stream])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_fit_passes_the_epoch_on(tmp_path, dataset, num_workers):
    data = SeparationData(dataset(), Items(2), batch_size=3, num_workers=num_workers)
    listener = Listener()
    trainer(tmp_path, max_epochs=3).fit(listener, datamodule=data)
    values = [value for batch in listener.seen["train"] for value in batch]
    assert [value // 100 for value in values] == [0] * 6 + [1] * 6 + [2] * 6
    assert [sorted(value % 100 for value in values[start : start + 6]) for start in (0, 6, 12)] == [list(range(6))] * 3
    assert listener.seen["valid"] == [[0, 1]] * 3


def test_test_and_a_run_without_validation(tmp_path):
    listener = Listener()
    data = SeparationData(Items(), test=Items(3), batch_size=2)
    trainer(tmp_path, max_epochs=1).fit(listener, datamodule=data)
    trainer(tmp_path).test(listener, datamodule=data, verbose=False)
    assert listener.seen["valid"] == []
    assert listener.seen["test"] == [[0, 1], [2]]


@pytest.mark.filterwarnings("ignore:You requested to overfit")
def test_overfitting_sees_the_same_batches(tmp_path):
    listener = Listener()
    data = SeparationData(Items(), batch_size=2)
    trainer(tmp_path, max_epochs=2, overfit_batches=2).fit(listener, datamodule=data)
    assert listener.seen["train"] == [[0, 1], [2, 3]] * 2


def test_each_device_has_its_share():
    shares = []
    for rank in (0, 1):
        data = SeparationData(Items(), batch_size=2)
        data.trainer = FakeTrainer(rank)
        loader = data.train_dataloader()
        assert isinstance(loader.sampler, DistributedSampler)  # Lightning leaves it there
        shares.append([int(name) for batch in loader for name in batch["id"]])
    assert sorted(shares[0] + shares[1]) == list(range(6))
    stream = Stream()
    data = SeparationData(stream)
    data.trainer = FakeTrainer(1)
    data.train_dataloader()
    assert stream.rank == (1, 2)


def test_remix_is_of_training_alone_and_repeatable():
    scenes = Scenes(num_items=4, duration=0.5, sample_rate=8000)
    data = SeparationData(scenes, scenes, batch_size=4, remix=Remix(), seed=3)
    twin = SeparationData(scenes, scenes, batch_size=4, remix=Remix(), seed=3)
    (batch,), (again,) = data.train_dataloader(), twin.train_dataloader()
    assert any("+" in name for name in batch["id"])
    assert batch["id"] == again["id"]
    assert torch.equal(batch["mixture"], batch["sources"].sum(1))
    (valid,) = data.val_dataloader()
    assert valid["id"] == scenes.ids


def test_last_batches_can_be_left_out_of_training():
    data = SeparationData(Items(5), Items(5), batch_size=2, drop_last=True)
    assert [len(batch["id"]) for batch in data.train_dataloader()] == [2, 2]
    assert [len(batch["id"]) for batch in data.val_dataloader()] == [2, 2, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"batch_size": 0}, "^batch_size must be at least 1"), ({"num_workers": -1}, "^num_workers must be at least 0")],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SeparationData(**arguments)
