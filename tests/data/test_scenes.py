"""The data set of synthetic scenes."""

import pytest
import torch
from torch.utils.data import DataLoader

from torchsep.data.scenes import Scenes
from torchsep.data.synthetic import music_and_voice


def scenes(**arguments):
    return Scenes(**{"num_items": 3, "duration": 1.0, "sample_rate": 8000, **arguments})


def test_items():
    dataset = scenes(split="valid")
    assert dataset.names == dataset.names_of(1) == ("music", "voice")
    item = dataset[1]
    assert item["mixture"].shape == (2, 8000)
    assert item["sources"].shape == (2, 2, 8000)
    assert item["mixture"].dtype == item["sources"].dtype == torch.float32
    assert torch.equal(item["mixture"], item["sources"].sum(0))
    assert (item["id"], item["sample_rate"]) == ("valid/000001", 8000)
    assert torch.equal(dataset[-1]["mixture"], dataset[2]["mixture"])


def test_ids_are_known_without_synthesising():
    assert scenes().ids == [item["id"] for item in scenes()]


def test_it_ends():
    assert len(list(scenes())) == len(scenes()) == 3
    with pytest.raises(IndexError):
        scenes()[3]


def test_items_seeds_and_splits_differ_and_stay():
    sets = [scenes(seed=seed, split=split) for seed in (0, 1, 1023) for split in ("train", "valid", "test")]
    voices = [item["sources"][1] for dataset in sets for item in dataset]
    assert len({tuple(voice[0, ::50].tolist()) for voice in voices}) == len(voices) == 27
    assert torch.equal(scenes(seed=1)[2]["mixture"], scenes(seed=1)[2]["mixture"])


def test_a_scene_is_one_of_music_and_voice():
    expected = music_and_voice(1.0, 8000, seed=4 * 5)  # the fifth of the first split
    assert torch.equal(scenes(num_items=9, split="train")[5]["sources"][0], expected["music"])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_any_number_of_workers_gives_the_same(num_workers):
    mixtures = [item["mixture"] for item in DataLoader(scenes(), batch_size=None, num_workers=num_workers)]
    assert all(torch.equal(a, b["mixture"]) for a, b in zip(mixtures, scenes(), strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_items": 0}, "^num_items must be at least 1, got 0$"),
        ({"num_items": 2**20 + 1}, "^num_items must be at most 1048576, got 1048577$"),
        ({"duration": 0.0}, "^duration must be above 0, got 0.0$"),
        ({"sample_rate": 4000}, "^sample_rate must be at least 8000, got 4000$"),
        ({"seed": -1}, "^seed must be at least 0, got -1$"),
        ({"seed": 1024}, "^seed must be at most 1023, got 1024$"),
        ({"split": "dev"}, "^split must be one of train, valid, test, got 'dev'$"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        scenes(**arguments)
