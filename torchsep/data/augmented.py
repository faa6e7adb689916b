"""Augmentation of data sets and batches."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from torchsep.checks import check_integer
from torchsep.data.augmentation import Augmentation, fit_length
from torchsep.data.seeding import generator_for

__all__ = ["Augmented", "Remix"]


class Augmented(Dataset[dict[str, Any]]):
    """Data set with independently augmented sources; the mixture is their sum.

    Augmented sources are truncated or zero-padded to their original length. Augmentation is deterministic for a given
    seed, epoch and item.

    Args:
        dataset: data set whose items have ``mixture`` and ``sources``.
        augment: augmentation of each source.
        seed: random seed.

    Example:
        >>> from torchsep.data.augmentation import RandomGain
        >>> from torchsep.data.scenes import Scenes
        >>> augmented = Augmented(Scenes(num_items=2, duration=1.0, sample_rate=8000), RandomGain(-6.0, -6.0))
        >>> round(augmented[0]["mixture"].abs().max().item(), 3)  # of 0.9
        0.451
    """

    def __init__(self, dataset: Dataset[dict[str, Any]], augment: Augmentation, seed: int = 0) -> None:
        check_integer(seed, "seed", at_least=0)
        self.dataset = dataset
        self.augment = augment
        self.seed = seed
        self.names: tuple[str, ...] = getattr(dataset, "names", ())
        # In shared memory, so that persistent workers see the new epoch.
        self._epoch = torch.zeros((), dtype=torch.int64, device="cpu").share_memory_()

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = self.dataset[index]
        generator = generator_for(self.seed, int(self._epoch), index)
        length = item["sources"].shape[-1]
        sources = torch.stack([fit_length(self.augment(source, generator), length) for source in item["sources"]])
        return {**item, "sources": sources, "mixture": sources.sum(0)}

    def names_of(self, index: int) -> tuple[str, ...]:
        """Names of the sources of one item."""
        names: tuple[str, ...] = self.dataset.names_of(index)  # type: ignore[attr-defined]
        return names

    @property
    def ids(self) -> list[str]:
        """The id of every item."""
        return list(self.dataset.ids)  # type: ignore[attr-defined]

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which changes the augmentation, here and in the wrapped data set, including in workers."""
        check_integer(epoch, "epoch", at_least=0)
        self._epoch.fill_(epoch)
        if hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(epoch)


@dataclass(frozen=True)
class Remix:
    """Shuffle each source across the items of a batch to form new mixtures.

    For sources of different classes, such as vocals and drums; mixtures of speakers could pair a speaker with itself.
    The id of a new item is the ids of its sources joined by ``+``.

    References:
        Uhlich et al.: "Improving music source separation based on deep neural networks through data augmentation and
        network blending", ICASSP, 2017.

    Example:
        >>> batch = {"sources": torch.arange(4.0).view(2, 2, 1, 1), "id": ["a", "b"]}
        >>> remixed = Remix()(batch, torch.Generator().manual_seed(1))
        >>> sorted(remixed["sources"][:, 0].flatten().tolist()), remixed["mixture"].sum()
        ([0.0, 2.0], tensor(6.))
    """

    def __call__(self, batch: Mapping[str, Any], generator: Generator) -> dict[str, Any]:
        """Remix the batch; ``lengths``, if present, are those of the longest source."""
        sources: Tensor = batch["sources"]
        size, count = sources.shape[:2]
        order = torch.rand(size, count, generator=generator).argsort(0)
        remixed = sources[order.to(sources.device), torch.arange(count, device=sources.device)]
        ids = ["+".join(dict.fromkeys(batch["id"][item] for item in row)) for row in order.tolist()]
        lengths = {"lengths": batch["lengths"][order.to(batch["lengths"].device)].amax(1)} if "lengths" in batch else {}
        return {**batch, "sources": remixed, "mixture": remixed.sum(1), "id": ids, **lengths}
