"""Training steps per second of torchsep and of a plain PyTorch loop: ``python recipes/benchmark/training.py``.

Both train the same network on the same batches with the same optimizer. The plain loop consists of forward,
permutation-invariant SI-SDR, backward, clipping and step.
"""

import argparse
import logging
import statistics
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from torchsep.data import SeparationData
from torchsep.engine import SeparationTask, WaveformObjective
from torchsep.engine.train.callbacks import ProgressReport, StepSeeds
from torchsep.networks import ConvTasNet, MaskInference, RecurrentBody
from torchsep.separators import DeepAudioEstimation, DeepMaskEstimation, Separator

RATE = 8000
CLIP = 5.0


class Noise(Dataset[dict[str, Any]]):
    """Data set of one repeated noise item, with negligible loading time."""

    def __init__(self, count: int, seconds: float) -> None:
        self.sources = torch.randn(2, 1, round(seconds * RATE), generator=torch.Generator().manual_seed(0))
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"mixture": self.sources.sum(0), "sources": self.sources, "id": str(index), "sample_rate": RATE}


class PlainMasks(nn.Module):
    """Plain PyTorch equivalent of the mask separator."""

    def __init__(self, network: MaskInference) -> None:
        super().__init__()
        self.network = network

    def forward(self, mixture: Tensor) -> Tensor:
        window = torch.hann_window(256).sqrt()
        spectrogram = torch.stft(mixture[:, 0], 256, 64, window=window, pad_mode="constant", return_complex=True)
        masks = self.network(spectrogram.abs()[:, None])[:, :, 0]
        masked = (masks * spectrogram[:, None]).flatten(0, 1)
        return torch.istft(masked, 256, 64, window=window, length=mixture.shape[-1]).unflatten(0, (-1, 2))


class PlainWaveforms(nn.Module):
    """Plain PyTorch equivalent of the waveform separator."""

    def __init__(self, network: ConvTasNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, mixture: Tensor) -> Tensor:
        return self.network(mixture)[:, :, 0]


def si_sdr(estimates: Tensor, sources: Tensor) -> Tensor:
    estimates = estimates - estimates.mean(-1, keepdim=True)
    sources = sources - sources.mean(-1, keepdim=True)
    scale = (estimates * sources).sum(-1, keepdim=True) / (sources.square().sum(-1, keepdim=True) + 1e-8)
    target = scale * sources
    return 10 * torch.log10(target.square().sum(-1) / ((estimates - target).square().sum(-1) + 1e-8) + 1e-8)


def plain_loss(estimates: Tensor, sources: Tensor) -> Tensor:
    same, other = si_sdr(estimates, sources).mean(1), si_sdr(estimates.flip(1), sources).mean(1)
    return -torch.maximum(same, other).mean()


def plain_loop(separator: Separator, batches: Iterator[dict[str, Any]]) -> float:
    network = separator.network
    model = PlainMasks(network) if isinstance(network, MaskInference) else PlainWaveforms(network)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    times = []
    for batch in batches:
        loss = plain_loss(model(batch["mixture"]), batch["sources"][:, :, 0])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        times.append(time.perf_counter())
    return (len(times) - 1) / (times[-1] - times[0])


def stack(separator: Separator, data: SeparationData) -> tuple[float, float]:
    progress = ProgressReport(lambda _: None)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        gradient_clip_val=CLIP,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[StepSeeds(0), progress],
    )
    trainer.fit(SeparationTask(separator, WaveformObjective()), datamodule=data)
    return progress.steps_per_second, progress.waiting


def separators() -> dict[str, Any]:
    body = {"num_features": 129, "hidden_size": 300, "num_layers": 2}
    return {
        "BLSTM masks 2 x 300": lambda: DeepMaskEstimation(MaskInference(RecurrentBody(**body)), sample_rate=RATE),
        "Conv-TasNet 256, 32, 96/192, 7 x 2": lambda: DeepAudioEstimation(
            ConvTasNet(2, 256, 32, bottleneck_size=96, hidden_size=192, num_layers=7, num_stacks=2), sample_rate=RATE
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="number of threads")
    parser.add_argument("--steps", type=int, default=20, help="number of steps per run")
    parser.add_argument("--repeats", type=int, default=5, help="number of runs of each side")
    parser.add_argument("--batch-size", type=int, default=8, help="number of items per batch")
    parser.add_argument("--seconds", type=float, default=2.0, help="duration of an item in seconds")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    say(
        f"{options.threads} threads, batches of {options.batch_size} x {options.seconds} s, "
        f"{options.steps} steps, alternating"
    )
    for name, make in separators().items():
        plain, ours, waits = [], [], []
        for _ in range(options.repeats):
            items = Noise(options.steps * options.batch_size, options.seconds)
            plain.append(
                plain_loop(make(), iter(SeparationData(items, batch_size=options.batch_size).train_dataloader()))
            )
            speed, waiting = stack(make(), SeparationData(items, batch_size=options.batch_size))
            ours.append(speed)
            waits.append(waiting)
        both = statistics.median(plain), statistics.median(ours)
        ratio = statistics.median(mine / other for mine, other in zip(ours, plain, strict=True))
        say(f"{name}: {both[1]:.2f} steps/s, plain loop {both[0]:.2f}, ratio {ratio:.3f}, waiting {max(waits):.1%}")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
