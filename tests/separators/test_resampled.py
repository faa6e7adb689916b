"""Separators at another sample rate than the mixtures."""

import pytest
import torch
from scenes import noise

import torchsep
from torchsep.functional import resample, share_high_band
from torchsep.separators import HPSS, Resampled


def tone(hertz, rate, seconds=1.0):
    return torch.sin(2 * torch.pi * hertz * torch.arange(int(rate * seconds)) / rate)


@pytest.mark.parametrize("rate", [16000, 22050, 44100])
def test_shared_estimates_sum_to_the_mixture(rate):
    separator = Resampled(HPSS(sample_rate=8000), "share", sample_rate=rate)
    assert separator.conservative
    mixture = noise(rate)[None].float().expand(2, -1)
    assert torch.allclose(separator(mixture).sum(0), mixture, atol=1e-5)
    dropped = Resampled(HPSS(sample_rate=8000), sample_rate=rate)
    assert not dropped.conservative
    difference = separator(mixture) - dropped(mixture)
    inside = slice(rate // 10, -rate // 10)
    assert resample(difference, rate, 8000)[..., 800:-800].abs().max() < 0.1 * difference[..., inside].abs().max()


def test_the_source_with_energy_below_gets_the_band():
    """A source that ends in the middle of the recording, below a tone that does not."""
    rate, low = 16000, 8000
    first, second = tone(3000, low), tone(3100, low)
    first[4000:], second[:4000] = 0, 0
    mixture = resample(first + second, low, rate) + tone(6000, rate)
    shared = share_high_band(torch.stack((first, second))[:, None], mixture[None], low, rate)[:, 0]
    high = shared - resample(resample(shared, rate, low), low, rate)
    energy = high.square()
    assert energy[0, 1000:7000].sum() > 1e4 * energy[1, 1000:7000].sum()
    assert energy[1, 9000:15000].sum() > 1e4 * energy[0, 9000:15000].sum()


def test_silent_estimates_share_equally():
    mixture = tone(3000, 8000)[None]
    shared = share_high_band(torch.zeros(2, 1, 2000), mixture, 2000, 8000)
    assert torch.equal(shared[0], shared[1])
    assert torch.allclose(shared.sum(0)[:, 1000:-1000], mixture[:, 1000:-1000], atol=1e-3)


def test_unknown_treatment_is_refused():
    with pytest.raises(ValueError, match="high_band must be one of drop, share, got 'keep'"):
        torchsep.build("resampled", separator=HPSS(sample_rate=8000), high_band="keep", sample_rate=16000)
