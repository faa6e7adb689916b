"""Augmentation of data sets and batches."""

import torch
from torch.utils.data import Dataset

from torchsep.data.augmentation import RandomGain, RandomPolarity, RandomSpeed
from torchsep.data.augmented import Augmented, Remix


class Constants(Dataset):
    """Each source of each item is a different constant."""

    names = ("a", "b", "c")
    epoch = 0
    ids = tuple(f"i{index}" for index in range(6))

    def __len__(self):
        return 6

    def __getitem__(self, index):
        sources = (10.0 * index + torch.arange(1.0, 4.0))[:, None, None].expand(3, 2, 50).clone()
        return {"mixture": sources.sum(0) + 1, "sources": sources, "id": f"i{index}", "sample_rate": 8000}

    def names_of(self, index):
        return self.names

    def set_epoch(self, epoch):
        self.epoch = epoch


def test_sources_are_augmented_one_by_one_and_summed():
    items = Augmented(Constants(), RandomGain(-6, 6))
    item, plain = items[2], Constants()[2]
    gains = item["sources"] / plain["sources"]
    assert len({round(gain, 4) for gain in gains[:, 0, 0].tolist()}) == 3
    assert torch.equal(gains, gains[:, :1, :1].expand_as(gains))
    assert torch.equal(item["mixture"], item["sources"].sum(0))
    assert (item["id"], item["sample_rate"]) == ("i2", 8000)
    assert len(items) == 6
    assert items.ids == [f"i{index}" for index in range(6)]
    assert items.names == items.names_of(0) == ("a", "b", "c")


def test_an_item_is_the_same_in_an_epoch_and_another_in_the_next():
    dataset = Constants()
    items = Augmented(dataset, RandomGain(-6, 6), seed=4)
    first = items[1]["sources"]
    _ = items[3]
    assert torch.equal(items[1]["sources"], first)
    items.set_epoch(7)
    assert dataset.epoch == 7
    assert not torch.equal(items[1]["sources"], first)
    items.set_epoch(0)
    assert torch.equal(items[1]["sources"], first)
    assert not torch.equal(Augmented(dataset, RandomGain(-6, 6), seed=5)[1]["sources"], first)


def test_the_duration_stays():
    for speed in (0.5, 2.0):
        item = Augmented(Constants(), RandomSpeed([speed]))[0]
        assert item["sources"].shape == (3, 2, 50)
        assert bool(item["sources"][..., -20:].any()) == (speed < 1)


def test_a_function_will_do():
    item = Augmented(Constants(), lambda waveform, _: 2 * waveform)[0]
    assert torch.equal(item["sources"], 2 * Constants()[0]["sources"])


def batch(size):
    items = [Constants()[index] for index in range(size)]
    return {
        "mixture": torch.stack([item["mixture"] for item in items]),
        "sources": torch.stack([item["sources"] for item in items]),
        "id": [item["id"] for item in items],
        "sample_rate": 8000,
        "lengths": torch.arange(size) + 1,
    }


def test_remix_uses_every_source_once_in_its_place():
    before = batch(6)
    after = Remix()(before, torch.Generator().manual_seed(0))
    assert torch.equal(after["sources"].sort(0).values, before["sources"].sort(0).values)
    assert not torch.equal(after["sources"], before["sources"])
    assert torch.equal(after["mixture"], after["sources"].sum(1))
    origin = ((after["sources"][:, :, 0, 0] - 1) // 10).long()
    assert after["id"] == ["+".join(dict.fromkeys(f"i{number}" for number in row)) for row in origin.tolist()]
    assert torch.equal(after["lengths"], origin.amax(1) + 1)
    assert after["sample_rate"] == 8000
    assert torch.equal(before["sources"], batch(6)["sources"])


def test_remix_of_one_item_is_that_item():
    after = Remix()(batch(1), torch.Generator())
    assert torch.equal(after["sources"], batch(1)["sources"])
    assert after["id"] == ["i0"]


def test_polarity_of_each_source_is_its_own():
    items = Augmented(Constants(), RandomPolarity())
    signs = {tuple(items[index]["sources"][:, 0, 0].sign().tolist()) for index in range(6)}
    assert len(signs) > 2
