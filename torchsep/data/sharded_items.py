"""Data set that reads items from shards."""

import itertools
import json
import os
import random
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from torchsep import audio
from torchsep.checks import check_integer
from torchsep.data.shards import INDEX, shard_path, webdataset

__all__ = ["ShardedItems"]


class ShardedItems(IterableDataset[dict[str, Any]]):
    """Iterable data set over shards written by :func:`torchsep.data.write_shards`, read sequentially.

    Every device and worker reads its own part. Devices read equal numbers of items; a few are repeated at the end if
    they do not divide evenly. Shards are shuffled as a whole, and items within a window, which suffices if neighbouring
    items are unrelated.

    Args:
        folder: folder of the shards.
        shuffle: size of the shuffle window in items, which are kept encoded in memory; 0 disables shuffling.
        seed: random seed of the order, which differs between epochs (:meth:`set_epoch`).

    Raises:
        ImportError: if webdataset is not installed.
        FileNotFoundError: if the folder contains no shards.
        ValueError: if the shards are incomplete.

    Example:
        >>> from torchsep.data.scenes import Scenes
        >>> from torchsep.data.shards import write_shards
        >>> scenes = Scenes(num_items=5, duration=0.5, sample_rate=8000)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_shards(scenes, folder, items_per_shard=2)
        ...     items = ShardedItems(folder)
        ...     [item["id"] for item in items], items.names, items.num_items
        (['test/000000', 'test/000001', 'test/000002', 'test/000003', 'test/000004'], ('music', 'voice'), 5)
    """

    def __init__(self, folder: str | os.PathLike[str], shuffle: int = 0, seed: int = 0) -> None:
        check_integer(shuffle, "shuffle", at_least=0)
        check_integer(seed, "seed", at_least=0)
        webdataset()
        self.folder = Path(folder).expanduser()
        self.shuffle = shuffle
        self.seed = seed
        try:
            index = json.loads((self.folder / INDEX).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise FileNotFoundError(f"{self.folder}: holds no {INDEX}; write shards with `torchsep shard`") from None
        self.num_items = int(index["num_items"])
        self.names: tuple[str, ...] = tuple(index["names"])
        self._names_of = [tuple(names) for names in index["names_of"]]
        self._sizes = [
            min(index["items_per_shard"], self.num_items - first)
            for first in range(0, self.num_items, index["items_per_shard"])
        ]
        there = sum(shard_path(self.folder, number).exists() for number in range(len(self._sizes)))
        if there < len(self._sizes) or not index["complete"]:
            rule = f"must hold all {len(self._sizes)} shards, got {there}"
            raise ValueError(f"{self.folder}: {rule}; run the same command again")
        self._rank: tuple[int, int] | None = None
        # In shared memory, so that persistent workers see the new epoch.
        self._epoch = torch.zeros((), dtype=torch.int64, device="cpu").share_memory_()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        generator = random.Random(f"{self.seed} {int(self._epoch)}")  # noqa: S311 - the same in all processes
        order = list(range(len(self._sizes)))
        if self.shuffle:
            generator.shuffle(order)
        rank, worker, first, end = self._part()
        samples = itertools.chain.from_iterable(
            self._read(number, low, high) for number, low, high in self._pieces(order, first, end)
        )
        own = random.Random(f"{self.seed} {int(self._epoch)} {rank} {worker}")  # noqa: S311
        with tempfile.TemporaryDirectory(prefix="torchsep-") as scratch:
            for sample in _shuffled(samples, self.shuffle, own):
                yield _decoded(sample, Path(scratch))

    def names_of(self, index: int) -> tuple[str, ...]:
        """Names of the sources of one item, in the order of writing."""
        return self.names or self._names_of[index]

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which determines the order from the next iteration, including in running workers."""
        check_integer(epoch, "epoch", at_least=0)
        self._epoch.fill_(epoch)

    def set_rank(self, rank: int, world_size: int) -> None:
        """Set the process whose part is read; by default that of torch.distributed or torchrun."""
        check_integer(world_size, "world_size", at_least=1)
        check_integer(rank, "rank", at_least=0)
        if rank >= world_size:
            raise ValueError(f"rank must be below world_size, {world_size}, got {rank}")
        self._rank = rank, world_size

    def _part(self) -> tuple[int, int, int, int]:
        """Rank, worker index, and range of items to read in the order of the epoch."""
        rank, world_size = self._rank or _rank()
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        share = -(-self.num_items // world_size)
        first, end = (rank * share + number * share // workers for number in (worker, worker + 1))
        return rank, worker, first, end

    def _pieces(self, order: list[int], first: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Shards and item ranges that cover ``first`` to ``end`` of the order, which is repeated cyclically."""
        before = 0
        for number in itertools.cycle(order):
            if before >= end:
                return
            size = self._sizes[number]
            low, high = max(0, first - before), min(size, end - before)
            if low < high:
                yield number, low, high
            before += size

    def _read(self, number: int, low: int, high: int) -> Iterator[dict[str, bytes]]:
        """Encoded items ``low`` to ``high`` of a shard."""
        path, tar = shard_path(self.folder, number), webdataset().tariterators
        with path.open("rb") as stream:
            files = tar.tar_file_expander([{"url": str(path), "stream": stream}])
            try:
                yield from itertools.islice(tar.group_by_keys(files), low, high)
            except tarfile.TarError as error:
                raise ValueError(f"{path}: is truncated or damaged; copy or write it again") from error


def _rank() -> tuple[int, int]:
    """Rank of this process and number of processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _shuffled(samples: Iterator[dict[str, bytes]], window: int, generator: random.Random) -> Iterator[dict[str, bytes]]:
    """Samples in random order, drawn from a sliding window."""
    waiting: list[dict[str, bytes]] = []
    for sample in samples:
        waiting.append(sample)
        if len(waiting) > window:
            yield _drawn(waiting, generator)
    while waiting:
        yield _drawn(waiting, generator)


def _drawn(waiting: list[dict[str, bytes]], generator: random.Random) -> dict[str, bytes]:
    place = generator.randrange(len(waiting))
    waiting[place], waiting[-1] = waiting[-1], waiting[place]
    return waiting.pop()


def _decoded(sample: dict[str, bytes], scratch: Path) -> dict[str, Any]:
    """Decode an item."""
    about = json.loads(sample["json"])
    suffix = "flac" if "mixture.flac" in sample else "wav"
    waveforms = []
    count = sum(name.startswith("source_") for name in sample)
    for name in ("mixture", *(f"source_{number}" for number in range(count))):
        path = scratch / f"{name}.{suffix}"
        path.write_bytes(sample[path.name])
        waveforms.append(audio.read(path)[0])
        path.unlink()
    return {
        "mixture": waveforms[0],
        "sources": torch.stack(waveforms[1:]),
        "id": about["id"],
        "sample_rate": about["sample_rate"],
    }
