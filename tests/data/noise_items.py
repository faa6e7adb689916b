"""Items to write as shards."""

import torch
from torch.utils.data import Dataset

RATE = 8000


class Noise(Dataset):
    """Items on the grid of 24 bits, of different length, one of them above full scale."""

    names = ("first one", "b/c.d")

    def __init__(self, size=7, seed=0, bad=None):
        self.size, self.seed, self.bad = size, seed, bad

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        index = range(self.size)[index]
        generator = torch.Generator().manual_seed(1000 * self.seed + index)
        sources = torch.randint(-(2**22), 2**22, (2, 2, 300 + index), generator=generator) / 2.0**23
        if index == 2:
            sources = sources * 3.1
        if index == self.bad:
            sources[0, 0, 0] = torch.nan
        return {"mixture": sources.sum(0), "sources": sources, "id": f"test/a. {index}", "sample_rate": RATE}

    def names_of(self, index):
        return self.names


class Mixed(Noise):
    """Items of different sources."""

    names = ()

    def names_of(self, index):
        return (f"x{index}", "y")


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())
