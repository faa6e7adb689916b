"""Mel filters and MFCCs against librosa."""

import librosa
import numpy as np
import pytest
import torch
from scenes import noise

from torchsep.functional.mel import mel_filters, mfcc, normalized_mfcc


@pytest.mark.parametrize(("sample_rate", "n_fft", "n_mels"), [(44100, 2048, 128), (16000, 512, 40), (8000, 64, 20)])
@pytest.mark.parametrize("band", [{}, {"min_frequency_hz": 80.0, "max_frequency_hz": 3000.0}])
@pytest.mark.filterwarnings("ignore:Empty filters")
def test_filters_are_those_of_librosa(sample_rate, n_fft, n_mels, band):
    limits = {"fmin": band["min_frequency_hz"], "fmax": band["max_frequency_hz"]} if band else {}
    expected = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels, dtype=np.float64, **limits)
    filters = mel_filters(n_fft // 2 + 1, sample_rate, n_mels, **band)
    assert torch.allclose(filters, torch.from_numpy(expected), rtol=1e-10, atol=1e-14)


def test_coefficients_are_those_of_librosa():
    power = noise(2, 3, 257).square() ** 4
    filters = mel_filters(257, 16000)
    coefficients = mfcc(power, filters)
    for spectrum, found in zip(power.flatten(0, 1), coefficients.flatten(0, 1), strict=True):
        mel = filters.numpy() @ spectrum.numpy()[:, None]
        level = 80 + librosa.power_to_db(mel, ref=np.max, amin=1e-300, top_db=80)
        expected = librosa.feature.mfcc(S=level, n_mfcc=13)[:, 0]
        assert np.abs(found.numpy() - expected).max() < 1e-9
    assert torch.allclose(mfcc(power.float(), filters).double(), coefficients, rtol=1e-4, atol=1e-2)


def test_level_plays_no_part_and_silence_has_none():
    power = noise(4, 129).square().float()
    power[2] = 0.0
    filters = mel_filters(129, 8000)
    for level in (1e-20, 1e20):
        assert torch.allclose(mfcc(power * level, filters), mfcc(power, filters), rtol=1e-4, atol=1e-2)
    assert not mfcc(power, filters)[2].any()
    vectors = normalized_mfcc(power.requires_grad_(), 8000)
    assert torch.allclose(vectors.square().sum(-1), torch.tensor([1.0, 1.0, 0.0, 1.0]))
    assert torch.autograd.grad(vectors[:, 0].sum(), power)[0].isfinite().all()


def test_the_gradient_is_exact():
    power = noise(2, 33).square().requires_grad_()
    assert torch.autograd.gradcheck(lambda power: normalized_mfcc(power, 8000, 5), power, fast_mode=True)


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="n_mfcc must be at most the number of filters, 4, got 5"):
        mfcc(torch.ones(33), mel_filters(33, 8000, n_mels=4), n_mfcc=5)
    with pytest.raises(ValueError, match="num_bins must be at least 2, got 1"):
        mel_filters(1, 8000)
    with pytest.raises(ValueError, match=r"max_frequency_hz must be above 200, got 100\.0"):
        mel_filters(33, 8000, min_frequency_hz=200.0, max_frequency_hz=100.0)
