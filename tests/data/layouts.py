"""Tiny data sets on disk: noise in whole 16-bit steps, so that files and their sums are exact."""

import torch

from torchsep import audio

RATE = 8000


def noise(seed, channels=1, samples=1600):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-4000, 4001, (channels, samples), generator=generator) / 32768.0


def write(path, waveform, rate=RATE):
    audio.write(path, waveform, rate, "PCM_16")
    return waveform


def write_sources(folder, names, seed=0, mixture=None, suffix="wav", rate=RATE, **shape):
    """Write a noise file for each name and their sum as ``mixture``; return the noises ``(S, C, T)``."""
    sources = torch.stack([noise(100 * seed + index, **shape) for index in range(len(names))])
    for name, source in zip(names, sources, strict=True):
        write(folder / f"{name}.{suffix}", source, rate)
    if mixture:
        write(folder / f"{mixture}.{suffix}", sources.sum(0), rate)
    return sources


def write_speakers(folder, name, mixtures, seed=0, **shape):
    """Write files of one name: noise in the folder of each part, sums of parts in the folder of each mixture."""
    parts = sorted({part for members in mixtures.values() for part in members})
    sources = {part: noise(100 * seed + index, **shape) for index, part in enumerate(parts)}
    for part, source in sources.items():
        write(folder / part / f"{name}.wav", source)
    for mixture, members in mixtures.items():
        write(folder / mixture / f"{name}.wav", sum(sources[member] for member in members))
    return sources
