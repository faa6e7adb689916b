"""Fixtures of data sets: recordings of songs, and shards."""

import pytest
from data.layouts import write_sources
from data.noise_items import Noise
from data.songs import NAMES

from torchsep.data.shards import write_shards


@pytest.fixture
def songs(tmp_path):
    """The root, and the stems of each song."""
    lengths = {"a": 1600, "b": 2000, "c": 900}
    stems = {
        name: write_sources(tmp_path / name, NAMES, seed, "mixture", channels=2, samples=length)
        for seed, (name, length) in enumerate(lengths.items())
    }
    return tmp_path, stems


@pytest.fixture(scope="module")
def shard_folder(tmp_path_factory):
    """Seven items in three shards."""
    folder = tmp_path_factory.mktemp("shards") / "new {1..2}"
    write_shards(Noise(), folder, items_per_shard=3)
    return folder
