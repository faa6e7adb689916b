"""Audio files for `torchsep separate`."""

import os

import numpy as np
import soundfile
from typer.testing import CliRunner

from torchsep.cli.main import app


def separate(*arguments):
    return CliRunner().invoke(app, ["separate", *map(str, arguments)])


def write_noise(path, *, rate=8000, channels=2, seconds=1.0, level=0.1, subtype="PCM_16"):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).standard_normal((round(rate * seconds), channels)) * level
    form = path.suffix[1:].upper()
    soundfile.write(os.fsencode(path), noise, rate, subtype=subtype, format=form)
    return soundfile.read(os.fsencode(path), always_2d=True)[0]


def read_sources(folder, suffix="wav"):
    return {path.stem: soundfile.read(path, always_2d=True) for path in sorted(folder.glob(f"*.{suffix}"))}
