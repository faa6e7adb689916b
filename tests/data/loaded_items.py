"""Items and trainers for tests of data modules."""

import pytorch_lightning as pl
import torch
from torch.utils.data import Dataset, IterableDataset


class Items(Dataset):
    """Items that contain the epoch and their index."""

    names = ("a", "b")

    def __init__(self, size=6):
        self.size = size
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        sources = torch.full((2, 1, 4), 100.0 * int(self.epoch) + index)
        return {"mixture": sources.sum(0), "sources": sources, "id": str(index), "sample_rate": 8000}

    def set_epoch(self, epoch):
        self.epoch.fill_(epoch)


class Stream(IterableDataset):
    """The same items as an iterable data set, each in one process only."""

    def __init__(self):
        self.items = Items()
        self.rank = None

    def __iter__(self):
        info = torch.utils.data.get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        return (self.items[index] for index in range(first, 6, step))

    def set_epoch(self, epoch):
        self.items.set_epoch(epoch)

    def set_rank(self, rank, world_size):
        self.rank = rank, world_size


class Listener(pl.LightningModule):
    """Model that only records its inputs."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = {"train": [], "valid": [], "test": []}

    def _note(self, stage, batch):
        self.seen[stage].append(batch["sources"][:, 0, 0, 0].tolist())
        return (self.weight * batch["mixture"]).sum()

    def training_step(self, batch, batch_idx):
        return self._note("train", batch)

    def validation_step(self, batch, batch_idx):
        self._note("valid", batch)

    def test_step(self, batch, batch_idx):
        self._note("test", batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def trainer(tmp_path, **arguments):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(
        **{
            "accelerator": "cpu",
            "devices": 1,
            "enable_checkpointing": False,
            "num_sanity_val_steps": 0,
            "default_root_dir": tmp_path,
            **quiet,
            **arguments,
        }
    )


class FakeTrainer:
    current_epoch = 1
    overfit_batches = 0
    world_size = 2

    def __init__(self, rank):
        self.global_rank = rank
