"""Small synthetic mixtures with known sources, and how to score what is made of them."""

import math

import torch
from torch import Tensor

RATE = 8000

LOOP_SAMPLES = 4096
"""The period of the loop in ``loop_and_voice``, a whole number of hops of the default front end."""


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Normal float64 values that depend on nothing but shape and seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tones_and_clicks() -> tuple[Tensor, int]:
    """Two seconds of steady tones, and of clicks: sources ``(2, 1, 16000)`` with their sample rate."""
    time = torch.arange(2 * RATE, dtype=torch.float64) / RATE
    tones = sum(torch.sin(2 * math.pi * hertz * time + hertz) / 3 for hertz in (310.0, 730.0, 1210.0))
    clicks = torch.zeros_like(time)
    decay = torch.exp(-torch.arange(80, dtype=torch.float64) / 12)
    for number, start in enumerate(range(900, 15000, 2300)):
        clicks[start : start + 80] += 3 * decay * noise(80, seed=number)
    return torch.stack((tones, clicks))[:, None], RATE


def loop_and_voice() -> tuple[Tensor, int]:
    """Eight rounds of a loop of 0.512 s, and a gliding voice: sources ``(2, 1, 32768)`` with their sample rate."""
    length = 8 * LOOP_SAMPLES
    time = torch.arange(length, dtype=torch.float64) / RATE
    loop = torch.zeros(LOOP_SAMPLES, dtype=torch.float64)
    beat = LOOP_SAMPLES // 4
    for number, hertz in enumerate((220.0, 277.0, 330.0, 440.0)):
        local = torch.arange(beat, dtype=torch.float64) / RATE
        drum = noise(beat, seed=number) * torch.exp(-local / 0.01) * (1 + number % 2)
        note = sum(torch.sin(2 * math.pi * hertz * k * local) / k for k in (1, 2, 3)) * torch.exp(-local / 0.08)
        loop[number * beat : (number + 1) * beat] = note + 0.5 * drum
    pitch = 700 + 180 * time + 60 * torch.sin(2 * math.pi * 0.83 * time)
    phase = 2 * math.pi * pitch.cumsum(0) / RATE
    voice = 0.4 * (torch.sin(phase) + 0.5 * torch.sin(2 * phase))
    return torch.stack((loop.repeat(8), voice))[:, None], RATE


def delayed(signal, delay):
    """A signal later by a number of samples, which need not be whole; it is taken as periodic."""
    turns = torch.arange(signal.shape[-1] // 2 + 1, dtype=torch.float64) * (2 * math.pi / signal.shape[-1])
    return torch.fft.irfft(torch.fft.rfft(signal) * torch.polar(torch.ones_like(turns), -turns * delay))


def bursts(seed, length=16000, band=(200, 3500)):
    """Bursts of a few tones in a band in Hz, so that two such signals seldom overlap."""
    signal = torch.zeros(length, dtype=torch.float64)
    time = torch.arange(800, dtype=torch.float64) / RATE
    pitch = torch.rand(length // 800, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    window = torch.hann_window(800, dtype=torch.float64)
    for number, pitches in enumerate(band[0] + (band[1] - band[0]) * pitch):
        tones = sum(torch.sin(2 * math.pi * hertz * time + hertz) for hertz in pitches)
        signal[800 * number : 800 * (number + 1)] = window * tones
    return signal


def delayed_bursts(delays):
    """Low bursts, ``(S, 2, T)``, that are equally loud in both channels and differ in the delay of the second."""
    signals = [bursts(seed, band=(100, 1200)) for seed in range(len(delays))]
    return torch.stack([torch.stack((x, delayed(x, late))) for x, late in zip(signals, delays, strict=True)])


def si_sdr(estimate: Tensor, source: Tensor) -> Tensor:
    """The scale-invariant signal-to-distortion ratio over the last axis, in dB."""
    share = (estimate * source).sum(-1, keepdim=True) / source.square().sum(-1, keepdim=True)
    error = estimate - share * source
    return 10 * torch.log10((share * source).square().sum(-1) / error.square().sum(-1))


def improvement(estimates: Tensor, sources: Tensor) -> float:
    """By how many dB estimates ``(S, C, T)`` are nearer to the sources than their mixture is, on average."""
    mixture = sources.sum(0, keepdim=True).expand_as(sources)
    return (si_sdr(estimates, sources) - si_sdr(mixture, sources)).mean().item()
