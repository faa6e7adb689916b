"""Data set of synthetic scenes, which needs no files."""

from typing import Any

import torch
from torch.utils.data import Dataset

from torchsep.checks import check_choice, check_integer, check_number
from torchsep.data.synthetic import music_and_voice

__all__ = ["Scenes"]

_SPLITS = ("train", "valid", "test")
_SEEDS = 2**20  # items of one seed and split


class Scenes(Dataset[dict[str, Any]]):
    """Synthetic scenes of music and a singing voice, with a different melody in every item.

    For testing separators, recipes or machines without recordings. Items are the same in every epoch.

    Args:
        num_items: number of scenes, at most 2**20.
        duration: duration of each scene in seconds.
        sample_rate: sample rate in Hz, at least 8000.
        seed: random seed, 0 to 1023; different seeds have no scenes in common.
        split: ``train``, ``valid`` or ``test``, which have no scenes in common.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> scenes = Scenes(num_items=3, duration=1.0, sample_rate=8000, split="valid")
        >>> len(scenes), scenes.names, scenes[2]["id"], scenes[2]["sources"].shape
        (3, ('music', 'voice'), 'valid/000002', torch.Size([2, 2, 8000]))
    """

    names: tuple[str, ...] = ("music", "voice")

    def __init__(
        self,
        num_items: int = 100,
        duration: float = 6.0,
        sample_rate: int = 44100,
        seed: int = 0,
        split: str = "test",
    ) -> None:
        check_integer(num_items, "num_items", at_least=1)
        check_number(duration, "duration", above=0.0)
        check_integer(sample_rate, "sample_rate", at_least=8000)
        check_integer(seed, "seed", at_least=0)
        check_choice(split, _SPLITS, "split")
        for name, value, limit in (("num_items", num_items, _SEEDS), ("seed", seed, 2**10 - 1)):
            if value > limit:
                raise ValueError(f"{name} must be at most {limit}, got {value}")
        self.num_items = num_items
        self.duration = duration
        self.sample_rate = sample_rate
        self.seed = seed
        self.split = split

    def __len__(self) -> int:
        return self.num_items

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = range(self.num_items)[index]
        # Distinct also in the lower 32 bits, the only ones used by the generator.
        seed = (self.seed * _SEEDS + index) * 4 + _SPLITS.index(self.split)
        sources = torch.stack(list(music_and_voice(self.duration, self.sample_rate, seed).values()))
        return {
            "mixture": sources.sum(0),
            "sources": sources,
            "id": self._id(index),
            "sample_rate": self.sample_rate,
        }

    def names_of(self, index: int) -> tuple[str, ...]:  # noqa: ARG002 - they are the same for all
        """Names of the sources of one item."""
        return self.names

    @property
    def ids(self) -> list[str]:
        """The id of every item."""
        return [self._id(index) for index in range(self.num_items)]

    def _id(self, index: int) -> str:
        return f"{self.split}/{index:06d}"
