"""Lightning data module and batching."""

import itertools
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Generator
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset

from torchsep.checks import check_integer
from torchsep.data.augmentation import fit_length
from torchsep.data.seeding import generator_for

__all__ = ["SeparationData", "collate"]

Item = Mapping[str, Any]
BatchAugmentation = Callable[[Mapping[str, Any], Generator], dict[str, Any]]


def collate(items: Sequence[Item], *, pad: bool = True) -> dict[str, Any]:
    """Collate items to a batch.

    It has ``mixture (B, C, T)``, ``sources (B, S, C, T)``, ``id``, ``sample_rate``, ``lengths (B,)`` and ``is_padded``.

    Args:
        items: items with the same sample rate and numbers of sources and channels.
        pad: whether shorter items are zero-padded to the longest; ``lengths`` contains the original lengths in
            samples.

    Raises:
        ValueError: if the items cannot be batched.

    Example:
        >>> items = [
        ...     {"mixture": torch.ones(1, n), "sources": torch.ones(2, 1, n), "id": str(n), "sample_rate": 8000}
        ...     for n in (3, 4)
        ... ]
        >>> batch = collate(items)
        >>> batch["sources"].shape, batch["lengths"], batch["mixture"][0]
        (torch.Size([2, 2, 1, 4]), tensor([3, 4]), tensor([[1., 1., 1., 0.]]))
    """
    _check_equal(items, "sample rate", lambda item: item["sample_rate"])
    _check_equal(items, "number of sources", lambda item: item["sources"].shape[0])
    _check_equal(items, "number of channels", lambda item: item["mixture"].shape[0])
    if not pad:
        _check_equal(items, "length in samples (or pad=True)", lambda item: item["mixture"].shape[-1])
    lengths = [item["mixture"].shape[-1] for item in items]
    stacked = {
        name: torch.stack([fit_length(item[name], max(lengths)) for item in items]) for name in ("mixture", "sources")
    }
    return {
        **stacked,
        "id": [item["id"] for item in items],
        "sample_rate": items[0]["sample_rate"],
        "lengths": torch.tensor(lengths),
        "is_padded": min(lengths) < max(lengths),
    }


def _check_equal(items: Sequence[Item], what: str, of: Callable[[Item], object]) -> None:
    first = items[0]
    other = next((item for item in items if of(item) != of(first)), None)
    if other is not None:
        got = f"{of(first)} of {first['id']} and {of(other)} of {other['id']}"
        raise ValueError(f"items of a batch must have one {what}, got {got}")


class SeparationData(pl.LightningDataModule):
    """Lightning data module for training, validation and test data sets.

    Training items are shuffled in every epoch, in an order that depends only on ``seed`` and the epoch. A run resumed
    within an epoch continues with the next batch. On several devices, each processes its own part. ``set_epoch`` of
    the training data set, if defined, is called at the start of every epoch. Validation and test items are not
    shuffled.

    Args:
        train: training data set, map-style or iterable, such as :class:`torchsep.data.ShardedItems`.
        valid: validation data set.
        test: test data set.
        batch_size: number of items per batch.
        num_workers: number of persistent worker processes for each data set; 0 loads items in the main process.
        pin_memory: whether to use pinned memory for faster transfer to the GPU; if None, only if there is a GPU.
        pad: whether items of different length are padded to one batch, see :func:`collate`.
        remix: augmentation of training batches, such as :class:`torchsep.data.Remix`.
        drop_last: whether an incomplete last training batch is dropped.
        seed: random seed of the order of items, the remix and the workers.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> from torchsep.data.scenes import Scenes
        >>> data = SeparationData(train=Scenes(num_items=4, duration=0.5, sample_rate=8000), batch_size=2)
        >>> [batch["mixture"].shape for batch in data.train_dataloader()]
        [torch.Size([2, 2, 4000]), torch.Size([2, 2, 4000])]
    """

    def __init__(  # noqa: PLR0913 - independent options
        self,
        train: Dataset[Any] | None = None,
        valid: Dataset[Any] | None = None,
        test: Dataset[Any] | None = None,
        batch_size: int = 1,
        num_workers: int = 0,
        *,
        pin_memory: bool | None = None,
        pad: bool = True,
        remix: BatchAugmentation | None = None,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_integer(batch_size, "batch_size", at_least=1)
        check_integer(num_workers, "num_workers", at_least=0)
        check_integer(seed, "seed", at_least=0)
        self.train = train
        self.valid = valid
        self.test = test
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.pin_memory = torch.accelerator.is_available() if pin_memory is None else pin_memory
        self.pad = pad
        self.remix = remix
        self.drop_last = drop_last
        self.seed = seed
        self._iterations = itertools.count()

    def train_dataloader(self) -> Any:
        """Training batches; without a trainer, each iteration is the next epoch."""
        if self.train is None:
            raise ValueError("train must be a data set, got None")
        loader = self._loader(self.train, _TrainingLoader, training=True)
        loader.epoch = self._epoch
        loader.done = self._done
        return loader

    def val_dataloader(self) -> Any:
        """Validation batches, in order; empty without a data set, of which Lightning warns."""
        return [] if self.valid is None else self._loader(self.valid)

    def test_dataloader(self) -> Any:
        """Test batches, in order."""
        if self.test is None:
            raise ValueError("test must be a data set, got None")
        return self._loader(self.test)

    def _epoch(self) -> int:
        if self.trainer is None:
            return next(self._iterations)
        is_overfitting = getattr(self.trainer, "overfit_batches", 0)  # always the same batches
        return 0 if is_overfitting else self.trainer.current_epoch

    def _done(self) -> int:
        """Number of processed batches of the epoch, 0 if it is complete; prefetched batches do not count."""
        if self.trainer is None:
            return 0
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress
        is_whole = progress.is_last_batch and progress.current.processed == progress.current.ready
        return 0 if is_whole else int(progress.current.processed)

    def _loader(
        self, dataset: Dataset[Any], kind: type[DataLoader[Any]] = DataLoader, *, training: bool = False
    ) -> Any:
        rank, world_size = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        sampler: DistributedSampler[Any] | None = None
        if isinstance(dataset, IterableDataset):
            if hasattr(dataset, "set_rank"):
                dataset.set_rank(rank, world_size)
        elif training:
            # Lightning keeps a DistributedSampler; for validation and test it inserts its own.
            sampler = _Shuffled(dataset, world_size, rank, shuffle=True, seed=self.seed)
        joined = partial(collate, pad=self.pad)
        if training and self.remix is not None:
            joined = partial(_remixed, joined, self.remix, self.seed)
        return kind(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=joined,
            pin_memory=self.pin_memory,
            drop_last=training and self.drop_last,
            persistent_workers=self.num_workers > 0,
            generator=generator_for(self.seed, "workers", rank),
            worker_init_fn=_ignore_interrupts,
        )


def _ignore_interrupts(_: int) -> None:
    """Leave an interrupt, which reaches all processes of a terminal, to the main process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Shuffled(DistributedSampler[Any]):
    """Distributed sampler that skips the items already processed in a resumed epoch."""

    first = 0

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(super().__iter__(), self.first, None)


class _TrainingLoader(DataLoader[Any]):
    """Data loader that sets the epoch of data set and sampler, and resumes within an epoch.

    Lightning also sets the epoch of the sampler, but in a resumed run only after workers have started prefetching.
    """

    epoch: Callable[[], int] | None = None
    done: Callable[[], int] | None = None
    _past = 0  # batches of the epoch to skip

    def __iter__(self) -> Any:
        if self.epoch is not None:
            epoch = self.epoch()
            for part in (self.dataset, self.sampler):
                if hasattr(part, "set_epoch"):
                    part.set_epoch(epoch)
        past, self._past = self._past, 0
        if not isinstance(self.sampler, _Shuffled):
            return itertools.islice(super().__iter__(), past, None) if past else super().__iter__()
        self.sampler.first = past * (self.batch_size or 1)
        return super().__iter__()

    def state_dict(self) -> dict[str, int]:
        """Progress within the epoch, saved by Lightning in checkpoints."""
        return {"batches": 0 if self.done is None else self.done()}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Resume the next iteration at the saved batch."""
        self._past = state["batches"]


def _remixed(
    joined: Callable[[Sequence[Item]], dict[str, Any]], remix: BatchAugmentation, seed: int, items: Sequence[Item]
) -> dict[str, Any]:
    """Collate and remix a batch, with randomness that depends only on the seed and the items."""
    batch = joined(items)
    return remix(batch, generator_for(seed, "remix", *batch["id"]))
