"""Hybrid Demucs against torchaudio."""

import pytest
import torch
import torchaudio
from scenes import noise

from torchsep.networks.h_demucs import STEPS, HDemucs

SMALL = {"hidden_size": 16, "n_fft": 64, "depth": 3}


def test_the_numbers_are_torchaudio_s():
    network = HDemucs(3, **SMALL)
    own = torchaudio.models.HDemucs(["a", "b", "c"], audio_channels=2, channels=16, nfft=64, depth=3)
    own.load_state_dict(network.model.state_dict())
    for length in (48, 49, 100, 1000):
        mixture = noise(2, 2, length).float()
        assert network(mixture).equal(own(mixture))


def test_short_signals_are_those_with_silence_after_them():
    network = HDemucs(2, **SMALL)
    mixture = noise(2, 2, 5).float()
    expected = network(torch.nn.functional.pad(mixture, (0, 43)))[..., :5]
    assert network(mixture).equal(expected)


@pytest.mark.slow
@pytest.mark.parametrize("n_fft", STEPS)
@pytest.mark.parametrize("further", [0, 1])
def test_every_transform_meets_the_waveform(n_fft, further):
    network = HDemucs(2, channels=1, hidden_size=16, growth=1, n_fft=n_fft, depth=STEPS[n_fft] + further).eval()
    hop = n_fft // 4
    with torch.no_grad():
        for length in (1, hop, 2 * hop + 1, 9 * hop // 4, 3 * hop - 1, 3 * hop, 10 * hop + 3):
            result = network(noise(1, 1, length).float())
            assert result.shape == (1, 2, 1, length)
            assert result.isfinite().all()


@pytest.mark.slow
def test_by_default_it_is_that_of_the_paper():
    with torch.device("meta"):
        network = HDemucs()
        own = torchaudio.models.hdemucs_high(["drums", "bass", "other", "vocals"])
    assert network.num_parameters == sum(weight.numel() for weight in own.parameters())
    assert round(network.num_parameters / 1e6) == 84


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_sources": 0}, "num_sources must be at least 1, got 0"),
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"hidden_size": 20}, "hidden_size must be a multiple of 16, got 20"),
        ({"growth": 1.5}, "growth must be an integer, got 1.5"),
        ({"n_fft": 512}, "n_fft must be one of 64, 256, 1024, 2048, 4096, got 512"),
        ({"depth": 4}, "depth must be at least 5, got 4"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        HDemucs(**arguments)
