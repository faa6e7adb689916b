"""A mixture of two sources, and the quality that a network reaches when trained on it alone."""

import math

import torch
from scenes import RATE, noise

from torchsep.metrics import si_sdr
from torchsep.networks import MaskNetwork
from torchsep.transforms import STFT

LENGTH = 4800


def two_sources():
    """Six tenths of a second of a low voice that wavers, and of a high one that glides and hisses: ``(2, 1, T)``."""
    time = torch.arange(LENGTH, dtype=torch.float64) / RATE
    low = _voice(150 + 6 * torch.sin(2 * math.pi * 5 * time), harmonics=7)
    high = _voice(430 + 160 * time, harmonics=5) * _syllable(time, 0.08, 0.4)
    hiss = noise(LENGTH + 2).diff(n=2) * _syllable(time, 0.4, 0.6)
    low = low * (_syllable(time, 0.0, 0.22) + _syllable(time, 0.33, 0.55))
    sources = torch.stack((low, high + 0.3 * hiss))[:, None]
    return (sources / sources.square().mean(-1, keepdim=True).sqrt()).float()


def overfit(network, *, steps, learning_rate=3e-3, target=16.0):
    """By how many dB the sources of one mixture gain on it, where the network is trained on that mixture alone.

    Training ends as soon as the gain in evaluation is above the target.
    """
    sources = two_sources()[None].expand(1, 2, network.channels, LENGTH)
    mixture = sources.sum(1)
    scale = mixture.square().mean().sqrt()
    mixture, sources = mixture / scale, sources / scale
    before = si_sdr(mixture[:, None].expand_as(sources), sources).mean()
    optimiser = torch.optim.Adam(network.parameters(), learning_rate)
    gain = torch.tensor(-math.inf)
    for step in range(steps):
        loss = -si_sdr(separated(network, mixture), sources).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        if (-loss - before > target and step % 5 == 0) or step == steps - 1:
            gain = _evaluated(network, mixture, sources) - before
            if gain > target:
                break
    return gain.item()


def separated(network, mixture):
    """The sources that a network on waveforms, or on spectrograms, makes of mixtures."""
    if not isinstance(network, MaskNetwork):
        return network(mixture)
    stft = STFT(2 * (network.num_bins - 1))
    spectrogram = stft(mixture)
    return stft.inverse(network(spectrogram.abs()) * spectrogram[:, None], mixture.shape[-1])


def _evaluated(network, mixture, sources):
    network.eval()
    with torch.no_grad():
        after = si_sdr(separated(network, mixture), sources).mean()
    network.train()
    return after


def _voice(pitch, harmonics):
    phase = 2 * math.pi * pitch.cumsum(0) / RATE
    return sum(torch.sin(number * phase + number**2) / number for number in range(1, harmonics + 1))


def _syllable(time, start, end):
    """A soft rise and fall between two times in seconds, over a low hum of the rest."""
    return 0.05 + torch.sin(math.pi * ((time - start) / (end - start)).clamp(0, 1)).square()
