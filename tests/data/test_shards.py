"""Data sets written to shards and read back."""

import gc
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import torch
from data.noise_items import RATE, Mixed, Noise, names_in
from torch.utils.data import DataLoader

from torchsep.data.sharded_items import ShardedItems
from torchsep.data.shards import write_shards

pytest.importorskip("webdataset")


def same(item, expected):
    return (
        all(torch.equal(item[name], expected[name]) for name in ("mixture", "sources"))
        and (item["id"], item["sample_rate"]) == (expected["id"], expected["sample_rate"])
        and item.keys() == expected.keys()
    )


def ids(items):
    return [item["id"] for item in items]


@pytest.mark.parametrize("form", ["flac", "wav"])
@pytest.mark.parametrize("workers", [0, 2])
def test_items_come_back_to_the_bit(tmp_path, form, workers):
    paths = write_shards(Noise(), tmp_path, 3, form, workers)
    assert [path.name for path in paths] == ["shard-000000.tar", "shard-000001.tar", "shard-000002.tar"]
    assert names_in(tmp_path) == [*(path.name for path in paths), "shards.json"]
    items = ShardedItems(tmp_path)
    assert (items.names, items.names_of(3), items.num_items) == (Noise.names, Noise.names, 7)
    assert all(same(item, expected) for item, expected in zip(items, Noise(), strict=True))


def test_samples_that_were_computed_are_rounded_to_24_bits_or_kept(tmp_path):
    class Computed(Noise):
        def __getitem__(self, index):
            item = super().__getitem__(0)
            return {**item, "sources": item["sources"] / 3, "id": str(index)}

    for form, error in (("flac", 2.0**-24), ("wav", 0.0)):
        write_shards(Computed(2), tmp_path / form, 2, form)
        for item in ShardedItems(tmp_path / form):
            assert (item["sources"] - Computed()[0]["sources"]).abs().max() <= error


def test_what_is_in_a_shard(shard_folder):
    with tarfile.open(shard_folder / "shard-000000.tar") as tar:
        names = tar.getnames()
        about = json.load(tar.extractfile("00000001.json"))
    assert names[:4] == ["00000000.json", "00000000.mixture.flac", "00000000.source_0.flac", "00000000.source_1.flac"]
    assert "00000002.mixture.wav" in names  # above full scale
    assert about == {"id": "test/a. 1", "names": list(Noise.names), "sample_rate": RATE}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its files open
def test_webdataset_reads_them_too(shard_folder):
    import webdataset

    samples = webdataset.WebDataset([str(shard_folder / "shard-000001.tar")], shardshuffle=False)
    assert [json.loads(sample["json"])["id"] for sample in samples] == [f"test/a. {index}" for index in (3, 4, 5)]
    del samples
    gc.collect()


def test_items_of_different_sources(tmp_path):
    write_shards(Mixed(3), tmp_path, 2)
    items = ShardedItems(tmp_path)
    assert items.names == ()
    assert items.names_of(2) == ("x2", "y")


@pytest.mark.parametrize("num_workers", [0, 1, 2])
@pytest.mark.parametrize("shuffle", [0, 3])
def test_workers_read_every_item_once(shard_folder, num_workers, shuffle):
    loader = DataLoader(ShardedItems(shard_folder, shuffle), batch_size=None, num_workers=num_workers)
    assert sorted(ids(loader)) == ids(Noise())


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 7, 10])
@pytest.mark.parametrize("shuffle", [0, 3])
def test_devices_read_equal_shares_of_all(shard_folder, world_size, shuffle):
    shares = []
    for rank in range(world_size):
        items = ShardedItems(shard_folder, shuffle, seed=1)
        items.set_rank(rank, world_size)
        shares.append(ids(items))
    assert {len(share) for share in shares} == {-(-7 // world_size)}
    assert {name for share in shares for name in share} == set(ids(Noise()))


def test_torchrun_says_which_device_it_is(shard_folder, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert ids(ShardedItems(shard_folder)) == [*ids(Noise())[4:], "test/a. 0"]


def test_the_order_depends_on_seed_and_epoch(shard_folder):
    items = ShardedItems(shard_folder, 5, seed=2)
    first = ids(items)
    assert first == ids(items) == ids(ShardedItems(shard_folder, 5, seed=2))
    assert first != ids(ShardedItems(shard_folder, 5, seed=3))
    items.set_epoch(1)
    second = ids(items)
    assert first != second
    assert sorted(first) == sorted(second) == ids(Noise())
    items.set_epoch(0)
    assert ids(items) == first


def test_shards_are_shuffled_as_a_whole(shard_folder):
    starts = {ids(ShardedItems(shard_folder, 1, seed=seed))[0] for seed in range(20)}
    assert any(name in starts for name in ("test/a. 3", "test/a. 4"))  # of the second shard


def test_workers_that_live_on_see_the_next_epoch(shard_folder):
    items = ShardedItems(shard_folder, 5)
    loader = DataLoader(items, batch_size=None, num_workers=2, persistent_workers=True)
    first = ids(loader)
    items.set_epoch(1)
    second = ids(loader)
    items.set_epoch(0)
    assert ids(loader) == first != second


def test_writing_goes_on_where_it_ended(tmp_path):
    counts = []
    with pytest.raises(ValueError, match=r"^test/a\. 4: samples must be finite$"):
        write_shards(Noise(bad=4), tmp_path, 2, receive=lambda done, total: counts.append((done, total)))
    assert counts == [(0, 4), (1, 4), (2, 4)]
    assert names_in(tmp_path) == ["shard-000000.tar", "shard-000001.tar", "shards.json"]
    with pytest.raises(ValueError, match=r"must hold all 4 shards, got 2; run the same command again$"):
        ShardedItems(tmp_path)
    times = [(tmp_path / f"shard-00000{number}.tar").stat().st_mtime_ns for number in range(2)]
    (tmp_path / ".writing-old").mkdir()  # left by a killed process
    counts.clear()
    write_shards(Noise(), tmp_path, 2, receive=lambda done, total: counts.append((done, total)))
    assert counts == [(2, 4), (3, 4), (4, 4)]
    assert times == [(tmp_path / f"shard-00000{number}.tar").stat().st_mtime_ns for number in range(2)]
    assert not list(tmp_path.glob(".*"))
    assert ids(ShardedItems(tmp_path)) == ids(Noise())


def test_an_error_in_a_worker_is_told_and_nothing_is_left(tmp_path):
    with pytest.raises(ValueError, match=r"^test/a\. 4: samples must be finite$"):
        write_shards(Noise(bad=4), tmp_path, 2, workers=2)
    assert not list(tmp_path.glob(".*"))
    assert not (tmp_path / "shard-000002.tar").exists()
    assert not multiprocessing.active_children()


def interrupt(done, total):
    if done == 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupt_leaves_whole_shards_alone(tmp_path, workers):
    with pytest.raises(KeyboardInterrupt):
        write_shards(Noise(40), tmp_path, 2, workers=workers, receive=interrupt)
    left = names_in(tmp_path)
    assert 3 <= len(left) < 21
    assert all(name.startswith("shard") for name in left)
    for path in tmp_path.glob("*.tar"):
        with tarfile.open(path) as tar:
            assert len(tar.getnames()) == 2 * 4
    assert len(write_shards(Noise(40), tmp_path, 2)) == 20
    assert ids(ShardedItems(tmp_path)) == ids(Noise(40))


class Slow(Noise):
    """Slow from the third item on."""

    def __getitem__(self, index):
        time.sleep(0.01 if index > 1 else 0)
        return super().__getitem__(index)


def test_shards_that_others_are_writing_are_given_up(tmp_path):
    with pytest.raises(ValueError, match=r"^test/a\. 0: samples must be finite$"):
        write_shards(Slow(100, bad=0), tmp_path, 50, workers=2)
    assert names_in(tmp_path) == ["shards.json"]


SCRIPT = """
import sys, time
sys.path.insert(0, {here!r})
from noise_items import Noise
from torchsep.data.shards import write_shards

class Slow(Noise):
    def __getitem__(self, index):
        time.sleep(0.05)
        return super().__getitem__(index)

if __name__ == "__main__":
    write_shards(Slow(200), {shard_folder!r}, 2, workers=2, receive=lambda done, total: print(done, flush=True))
"""


@pytest.mark.slow
def test_workers_end_with_the_main_process_when_ctrl_c_reaches_all(tmp_path):
    shard_folder, script = tmp_path / "out", tmp_path / "script.py"
    script.write_text(SCRIPT.format(here=str(Path(__file__).parent), shard_folder=str(shard_folder)))
    command = [sys.executable, script]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    ) as running:
        while running.stdout.readline().strip() not in {"3", ""}:
            pass
        os.killpg(running.pid, signal.SIGINT)
        _, errors = running.communicate(timeout=30)
    assert errors.strip().endswith("KeyboardInterrupt")
    assert errors.count("Traceback") == 1  # the workers are silent
    assert 4 <= len(names_in(shard_folder)) < 50
    assert all(name.startswith("shard") for name in names_in(shard_folder))
