"""Shards that are damaged, missing or from elsewhere, and arguments that are refused."""

import sys

import pytest
from data.noise_items import Mixed, Noise, names_in

from torchsep.data import shards
from torchsep.data.sharded_items import ShardedItems
from torchsep.data.shards import write_shards

pytest.importorskip("webdataset")


@pytest.mark.parametrize(
    ("dataset", "arguments", "key"),
    [
        (Noise(8), {}, r"num_items, 7 and not 8"),
        (Noise(), {"items_per_shard": 2}, r"items_per_shard, 3 and not 2"),
        (Noise(), {"format": "wav"}, r"format, 'flac' and not 'wav'"),
        (Noise(seed=1), {}, "first"),
        (Mixed(), {}, "names, "),
    ],
)
def test_a_folder_of_other_shards_is_left_alone(shard_folder, dataset, arguments, key):
    before = {name: (shard_folder / name).stat().st_mtime_ns for name in names_in(shard_folder)}
    with pytest.raises(ValueError, match=rf"holds shards of other items \({key}.*\); choose another folder$"):
        write_shards(dataset, shard_folder, **{"items_per_shard": 3, **arguments})
    assert before == {name: (shard_folder / name).stat().st_mtime_ns for name in names_in(shard_folder)}


def test_shards_of_unknown_origin_are_left_alone(tmp_path):
    (tmp_path / "shard-000000.tar").touch()
    with pytest.raises(ValueError, match=r"holds shards but no shards\.json; choose another folder$"):
        write_shards(Noise(), tmp_path)


def test_a_damaged_shard_is_named(tmp_path):
    (path,) = write_shards(Noise(3), tmp_path)
    path.write_bytes(path.read_bytes()[:-11000])
    with pytest.raises(ValueError, match=r"shard-000000\.tar: is truncated or damaged; copy or write it again"):
        list(ShardedItems(tmp_path))


def test_a_folder_without_shards_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no shards\.json; write shards with `torchsep shard`$"):
        ShardedItems(tmp_path)


def test_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "webdataset", None)
    with pytest.raises(ImportError, match=r"^shards need webdataset: pip install 'torchsep\[shards\]'$"):
        write_shards(Noise(), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"items_per_shard": 0}, "^items_per_shard must be at least 1, got 0$"),
        ({"workers": -1}, "^workers must be at least 0, got -1$"),
        ({"format": "mp3"}, "^format must be one of flac, wav, got 'mp3'$"),
        ({"dataset": Noise(0)}, r"^len\(dataset\) must be at least 1, got 0$"),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        write_shards(**{"dataset": Noise(), "folder": tmp_path, **arguments})


@pytest.mark.parametrize(("rank", "world_size"), [(2, 2), (-1, 2), (0, 0)])
def test_bad_ranks(shard_folder, rank, world_size):
    with pytest.raises(ValueError, match=r"^(rank|world_size) must be"):
        ShardedItems(shard_folder).set_rank(rank, world_size)


def test_path_of_a_shard(tmp_path):
    assert shards.shard_path(tmp_path, 1234567).name == "shard-1234567.tar"
