"""Data sets in batches, for PyTorch Lightning."""

import itertools
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
    """Items as one batch: ``mixture (B, C, T)``, ``sources (B, S, C, T)``, ``id``, ``sample_rate``, ``lengths (B,)``.

    Args:
        items: of one sample rate, with as many sources and channels each.
        pad: whether items of different length are followed by silence up to the longest; ``lengths`` tells their own
            numbers of samples.

    Raises:
        ValueError: if the items differ in what they must share; the message names two of them.

    Example:
        >>> items = [
        ...     {"mixture": torch.ones(1, n), "sources": torch.ones(2, 1, n), "id": str(n), "sample_rate": 8000}
        ...     for n in (3, 4)
        ... ]
        >>> batch = collate(items)
        >>> batch["sources"].shape, batch["lengths"], batch["mixture"][0]
        (torch.Size([2, 2, 1, 4]), tensor([3, 4]), tensor([[1., 1., 1., 0.]]))
    """
    _check_alike(items, "sample rate", lambda item: item["sample_rate"])
    _check_alike(items, "number of sources", lambda item: item["sources"].shape[0])
    _check_alike(items, "number of channels", lambda item: item["mixture"].shape[0])
    if not pad:
        _check_alike(items, "length in samples (or pad=True)", lambda item: item["mixture"].shape[-1])
    lengths = [item["mixture"].shape[-1] for item in items]
    stacked = {
        name: torch.stack([fit_length(item[name], max(lengths)) for item in items]) for name in ("mixture", "sources")
    }
    return {
        **stacked,
        "id": [item["id"] for item in items],
        "sample_rate": items[0]["sample_rate"],
        "lengths": torch.tensor(lengths),
    }


def _check_alike(items: Sequence[Item], what: str, of: Callable[[Item], object]) -> None:
    first = items[0]
    other = next((item for item in items if of(item) != of(first)), None)
    if other is not None:
        got = f"{of(first)} of {first['id']} and {of(other)} of {other['id']}"
        raise ValueError(f"items of a batch must have one {what}, got {got}")


class SeparationData(pl.LightningDataModule):
    """Data sets for training, validation and testing in batches.

    Training items come in another order in every epoch, which depends on ``seed`` and the epoch alone, and a run that
    is resumed within an epoch begins where it was, so that it goes on as it would have; on several devices each has its
    share. The training set's ``set_epoch``, if it has one, is called as every epoch begins. Validation and test items
    are the same in every epoch.

    Args:
        train: data set for ``fit``, also an iterable one, as :class:`torchsep.data.ShardedItems`; None for none.
        valid: data set for validation; None for none.
        test: data set for ``test``; None for none.
        batch_size: items of a batch.
        num_workers: processes that read items, for each data set; they live on from epoch to epoch. 0 reads in the main
            process.
        pin_memory: whether batches are put where a GPU fetches them faster; None where there is one.
        pad: whether items of different length go into one batch, see :func:`collate`.
        remix: changes training batches, as :class:`torchsep.data.Remix`; None for nothing.
        drop_last: whether training leaves out a last batch that is not full.
        seed: of the order of items, of the remix, and of the random state of the workers.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> from torchsep.data.scenes import Scenes
        >>> data = SeparationData(train=Scenes(num_items=4, duration=0.5, sample_rate=8000), batch_size=2)
        >>> [batch["mixture"].shape for batch in data.train_dataloader()]
        [torch.Size([2, 2, 4000]), torch.Size([2, 2, 4000])]
    """

    def __init__(  # noqa: PLR0913 - each is a choice of the user's
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
        """Batches for training; without a trainer, each iteration over them is the next epoch."""
        if self.train is None:
            raise ValueError("train must be a data set to fit on, got None")
        loader = self._loader(self.train, _TrainingLoader, training=True)
        loader.epoch = self._epoch
        loader.done = self._done
        return loader

    def val_dataloader(self) -> Any:
        """Batches for validation, in order; none, which Lightning warns of, without a data set."""
        return [] if self.valid is None else self._loader(self.valid)

    def test_dataloader(self) -> Any:
        """Batches for testing, in order."""
        if self.test is None:
            raise ValueError("test must be a data set to test on, got None")
        return self._loader(self.test)

    def _epoch(self) -> int:
        if self.trainer is None:
            return next(self._iterations)
        is_overfitting = getattr(self.trainer, "overfit_batches", 0)  # always to the same batches
        return 0 if is_overfitting else self.trainer.current_epoch

    def _done(self) -> int:
        """How many batches of the epoch training is done with, none if with all; more are fetched ahead."""
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
            # Lightning leaves a sampler of this kind as it is; in validation and test it puts in its own.
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
        )


class _Shuffled(DistributedSampler[Any]):
    """A share of the items in the order of the epoch, without the first ones if some have been."""

    first = 0

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(super().__iter__(), self.first, None)


class _TrainingLoader(DataLoader[Any]):
    """Tells the data set and the sampler which epoch begins, and goes on within one where its state says so.

    Lightning tells the sampler too, but of the first epoch of a resumed run only when workers have done with another.
    """

    epoch: Callable[[], int] | None = None
    done: Callable[[], int] | None = None
    _past = 0  # batches of the epoch that need not come again

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
        """Where in the epoch training is; Lightning keeps it in checkpoints."""
        return {"batches": 0 if self.done is None else self.done()}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Begin the next iteration where training was."""
        self._past = state["batches"]


def _remixed(
    joined: Callable[[Sequence[Item]], dict[str, Any]], remix: BatchAugmentation, seed: int, items: Sequence[Item]
) -> dict[str, Any]:
    """A batch changed by what depends on the seed and on the items in it alone."""
    batch = joined(items)
    return remix(batch, generator_for(seed, "remix", *batch["id"]))
