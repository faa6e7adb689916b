"""A small training run, and its results."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from scenes import RATE, bursts

from torchsep import audio
from torchsep.data import DynamicMixing
from torchsep.engine import WaveformObjective, run_training, training

NETWORK = [
    "separator=deep_mask_estimation",
    "+separator.stft={name: stft, n_fft: 64, hop_length: 32}",
    "network=mask_inference",
    "network.body.num_features=33",
    "network.body.hidden_size=6",
    "network.body.num_layers=2",
    "+network.body.norm=layer",
]
"""With dropout between the layers."""

VALIDATED = [
    "data@valid_data=dynamic_mixing",
    "valid_data.duration=0.2",
    "valid_data.num_items=2",
    "+valid_data.seed=1",
]

PLATEAU = ["scheduler=plateau", "scheduler.patience=0", "scheduler.mode=max", "schedule.monitor=valid/loss"]
"""A schedule that monitors the validation loss, in the wrong direction, so that it has an effect."""


def recordings(root):
    """Three speakers of two recordings each, half a second long."""
    for speaker in range(3):
        for take in range(2):
            path = root / f"speaker_{speaker}" / f"{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            audio.write(path, 0.1 * bursts(10 * speaker + take, 4000).float()[None], RATE)
    return root


def described(root, output, *more, model=NETWORK, validated=True):
    """Overrides for a run with dynamic mixing: three epochs of three batches of two.

    It has state to resume: a moving average of the weights, and augmentation.
    """
    return [
        *model,
        "objective=waveform",
        "optimizer=adam",
        "optimizer.lr=0.01",
        "data@train_data=dynamic_mixing",
        f"train_data.root={root}",
        "train_data.duration=0.1",
        "train_data.num_items=6",
        "+train_data.augment={name: random_speed, speeds: [0.9, 1.0, 1.1]}",
        *([*VALIDATED, f"valid_data.root={root}"] if validated else []),
        "batches.batch_size=2",
        "training.ema_decay=0.7",
        "training.checkpoint_every=1",
        "training.examples=0",
        "trainer.accelerator=cpu",
        "trainer.max_epochs=3",
        "trainer.log_every_n_steps=1",
        f"output={output}",
        *more,
    ]


def run(root, output, *more, say=lambda _: None, **options):
    return run_training(training(described(root, output, *more, **options)), say)


def weights(folder):
    """The tensors of the final checkpoint of a run."""
    return safetensors.torch.load_file(folder / "model.safetensors")


def difference(first, second):
    """The largest difference between the final weights of two runs."""
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    return max((one[name].double() - other[name].double()).abs().max().item() for name in one)


def curves(folder):
    """The curves in ``metrics.csv``: for each name the pairs of step and value."""
    found = {}
    with (folder / "metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                if value and name not in {"step", "epoch"}:
                    found.setdefault(name, []).append((int(row["step"]), float(value)))
    return found


def state(folder, name="last"):
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def command(overrides):
    """``torchsep train`` in its own process, with one thread."""
    program = Path(sys.executable).with_name("torchsep")
    return subprocess.Popen(
        [program, "train", *map(str, overrides)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for_steps(process, folder, steps, patience=300):
    """Wait until a process has written the state after a number of steps."""
    deadline = time.monotonic() + patience
    path = folder / "checkpoints" / "last.ckpt"
    while not path.is_file() or state(folder)["global_step"] < steps:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.3)


class Fixed(DynamicMixing):
    """The same items in every epoch."""

    def set_epoch(self, epoch):
        pass


class Late(DynamicMixing):
    """Slow items."""

    def __getitem__(self, index):
        time.sleep(0.05)
        return super().__getitem__(index)


class Broken(DynamicMixing):
    """One item of the second epoch is not a number."""

    def __getitem__(self, index):
        item = super().__getitem__(index)
        if item["id"] == "1/000003":
            item["mixture"][0, 5] = torch.nan
        return item


class PowerCutError(Exception):
    """Ends a run at an arbitrary moment."""


def interrupt(root, folder, *more, losses):
    """Start a run that fails after a number of computed losses, those of validation included."""
    count = 0
    compute = WaveformObjective.with_estimates

    def counted(objective, separator, batch):
        nonlocal count
        count += 1
        if count > losses:
            raise PowerCutError
        return compute(objective, separator, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WaveformObjective, "with_estimates", counted)
        with pytest.raises(PowerCutError):
            run(root, folder, *more)
