"""Items read back from shards."""

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
    """The items of a data set that :func:`torchsep.data.write_shards` has written, read from one end to the other.

    Every process, of several devices and of the workers of each, reads its own part; the parts of devices have the
    same number of items, for which a few are repeated at the end where they do not divide. Shards are shuffled as a
    whole, items within a window: enough where neighbours in the data set have nothing in common.

    Args:
        folder: of the shards.
        shuffle: items of the window from which the next is drawn, which are in memory as they are on disk; 0 leaves
            shards and items in order.
        seed: of the order; it is another in each epoch (:meth:`set_epoch`).

    Raises:
        ImportError: if webdataset is not installed.
        FileNotFoundError: if the folder holds no shards.
        ValueError: if the shards are not complete.

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
            raise ValueError(f"{self.folder}: {rule}; run what has written them once more")
        self._rank: tuple[int, int] | None = None
        # In shared memory, so that workers that outlive an epoch see the next one.
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
        """Take another order from the next iteration on, in running workers too."""
        check_integer(epoch, "epoch", at_least=0)
        self._epoch.fill_(epoch)

    def set_rank(self, rank: int, world_size: int) -> None:
        """Read the part of one of several processes; by default that which torchrun or torch.distributed says."""
        check_integer(world_size, "world_size", at_least=1)
        check_integer(rank, "rank", at_least=0)
        if rank >= world_size:
            raise ValueError(f"rank must be below world_size, {world_size}, got {rank}")
        self._rank = rank, world_size

    def _part(self) -> tuple[int, int, int, int]:
        """Number of the device and of the worker, and from where to where to read in the order of the epoch."""
        rank, world_size = self._rank or _rank()
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        share = -(-self.num_items // world_size)
        first, end = (rank * share + number * share // workers for number in (worker, worker + 1))
        return rank, worker, first, end

    def _pieces(self, order: list[int], first: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Shards and what to read of them, from ``first`` to ``end`` in an order that begins anew at its end."""
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
        """Some of the items of a shard as they are on disk."""
        path, tar = shard_path(self.folder, number), webdataset().tariterators
        with path.open("rb") as stream:
            files = tar.tar_file_expander([{"url": str(path), "stream": stream}])
            try:
                yield from itertools.islice(tar.group_by_keys(files), low, high)
            except tarfile.TarError as error:
                raise ValueError(f"{path}: is cut short or damaged; copy it again, or write it once more") from error


def _rank() -> tuple[int, int]:
    """Number of this process, and of all that train together."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _shuffled(samples: Iterator[dict[str, bytes]], window: int, generator: random.Random) -> Iterator[dict[str, bytes]]:
    """Each of the samples once, drawn from those that are within the window."""
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
    """The item as it was written."""
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
