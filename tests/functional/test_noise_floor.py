"""The noise floor of spatial cues, and the methods that use it."""

import pytest
import torch
from scenes import noise

from torchsep import STFT, build
from torchsep.functional.spatial._floor import above_noise_floor

SIGNAL = noise(1, 8000).float().cumsum(-1)[0] / 30
SIGNAL = SIGNAL - SIGNAL.mean()
HISS = noise(8000, seed=1).float() * SIGNAL.std()


def test_quiet_channels_and_rounding_errors_are_zero_and_all_else_is_kept():
    other = noise(8000, seed=2).float() * SIGNAL.std()
    spectrogram = STFT(256)(torch.stack((other, 1e-3 * HISS, 1e-4 * HISS))[None])
    kept = above_noise_floor(spectrogram)
    assert (kept - spectrogram)[0, :2].abs().max() < 1e-6 * spectrogram.abs().max()
    assert not kept[0, 2].any()
    rounding = spectrogram.clone()
    rounding[0, 1, 64:] = 1e-7 * spectrogram.abs().max()
    assert not above_noise_floor(rounding)[0, 1, 64:].any()
    assert above_noise_floor(rounding)[0, 1, :64].any()


@pytest.mark.parametrize("name", ["duet", "projet", "spatial_clustering"])
@pytest.mark.parametrize("other", [1e-4 * HISS, 1e-5 * HISS, 1e-5 * SIGNAL, torch.full_like(SIGNAL, 1e-8)])
@pytest.mark.parametrize("channel", [0, 1])
def test_a_useless_channel_is_as_a_silent_one(name, other, channel):
    separator = build(name, num_sources=2, sample_rate=8000)
    silent = torch.stack((SIGNAL, torch.zeros_like(SIGNAL)))
    useless = torch.stack((SIGNAL, other))
    expected, estimates = (
        separator(mixture.flip(0) if channel else mixture)[:, channel] for mixture in (silent, useless)
    )
    assert torch.allclose(estimates, expected, rtol=0, atol=1e-3 * SIGNAL.abs().max().item())
