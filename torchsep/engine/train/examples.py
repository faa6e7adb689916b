"""Audio and spectrograms of a few validation items, after each validation."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from torchsep import audio
from torchsep.functional import magnitude
from torchsep.transforms import STFT

__all__ = ["Examples", "picture"]

_RANGE_DB = 80.0


def picture(waveform: Tensor, sample_rate: int) -> Tensor:
    """The spectrogram of a waveform as a picture ``(1, F, N)``: from black at -80 dB to white at the loudest.

    Args:
        waveform: ``(C, T)``; the channels are averaged.
        sample_rate: in Hz.

    Example:
        >>> picture(torch.rand(1, 8000), 8000).shape
        torch.Size([1, 129, 126])
    """
    values = magnitude(STFT.from_sample_rate(sample_rate)(waveform.mean(0, keepdim=True).detach()))
    loudest = values.amax().clamp(min=torch.finfo(values.dtype).tiny)
    decibels = 20 * torch.log10(values / loudest + 1e-9)
    return (1 + decibels / _RANGE_DB).clamp(0, 1).flip(-2)


class Examples(pl.Callback):
    """Save the first validation items with their estimates after each validation.

    Their audio is written to the folder, and shown by TensorBoard with the spectrograms if it is installed.

    Args:
        count: number of items.
        folder: where their audio is written, each item in a folder of its own.
    """

    def __init__(self, count: int, folder: Path) -> None:
        self.count = count
        self.folder = folder
        self._items: list[dict[str, Any]] = []

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep the items and estimates of the first batches."""
        if trainer.is_global_zero and not trainer.sanity_checking:
            for number in range(min(self.count - len(self._items), len(batch["id"]))):
                chosen = {key: batch[key][number] for key in ("mixture", "sources", "id")}
                estimates = outputs["estimates"][number]
                self._items.append({**chosen, "estimates": estimates, "sample_rate": batch["sample_rate"]})

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Write them."""
        items, self._items = self._items, []
        for number, item in enumerate(items):
            sounds = {"mixture": item["mixture"]}
            for index, (source, estimate) in enumerate(zip(item["sources"], item["estimates"], strict=True), 1):
                sounds |= {f"source_{index}": source, f"estimate_{index}": estimate}
            self._show(trainer, f"example_{number + 1}", sounds, item["sample_rate"])

    def _show(self, trainer: pl.Trainer, label: str, sounds: dict[str, Tensor], sample_rate: int) -> None:
        paths = [self.folder / label / f"{name}.flac" for name in sounds]
        waveforms = torch.stack([sound.float().cpu() for sound in sounds.values()])
        audio.write_sources(paths, waveforms, sample_rate, overflow="rescale")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                writer, step = logger.experiment, trainer.global_step
                for name, sound in zip(sounds, waveforms, strict=True):
                    peak = sound.abs().max().clamp(min=1e-9)
                    writer.add_audio(f"{label}/{name}", sound.mean(0) / peak, step, sample_rate)
                    writer.add_image(f"{label}/{name}", picture(sound, sample_rate), step)
