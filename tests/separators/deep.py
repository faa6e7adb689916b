"""Helpers of the tests of deep separators: small networks, and reference implementations."""

import torch
from scenes import noise

from torchsep.networks import RecurrentBody, WaveformNetwork
from torchsep.transforms import STFT

BINS = 33
OF_RATE = {"sample_rate": 8000, "stft": STFT(64, 16)}


def body(**arguments):
    return RecurrentBody(**{"num_features": BINS, "hidden_size": 6, "num_layers": 1, **arguments})


def scene(batch=2, channels=1, length=500, seed=0):
    """Mixtures in double precision."""
    return noise(batch, channels, length, seed=seed)


def at_one_level(mixture):
    """The spectrogram, and its magnitudes at a root mean square of one for each item: as separators do, slowly."""
    spectrogram = OF_RATE["stft"](mixture)
    magnitude = spectrogram.abs()
    levels = torch.stack([item.square().mean().sqrt() for item in magnitude])
    return spectrogram, magnitude / levels.view(-1, 1, 1, 1)


class Gains(WaveformNetwork):
    """Sources that are the mixture through filters of two taps, each channel by itself or from both."""

    def __init__(self, channels=1, num_sources=2):
        super().__init__()
        self.channels = channels
        self.num_sources = num_sources
        taps = 0.1 * torch.arange(1.0, 1 + num_sources * channels * channels * 2)
        self.taps = torch.nn.Parameter(taps.view(num_sources * channels, channels, 2))

    def forward(self, mixture):
        padded = torch.nn.functional.pad(mixture, (1, 0))
        return torch.nn.functional.conv1d(padded, self.taps).unflatten(1, (self.num_sources, self.channels))
