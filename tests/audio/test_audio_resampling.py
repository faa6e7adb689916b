"""Resampling of waveforms."""

import math

import numpy as np
import pytest
import torch
from audio_files import RATE
from hypothesis import given, settings
from hypothesis import strategies as st

from torchsep import audio


def sine(frequency, rate, seconds=1.0, dtype=torch.float32):
    time = torch.arange(round(rate * seconds), dtype=torch.float64) / rate
    return torch.sin(2 * math.pi * frequency * time).to(dtype)


@pytest.mark.parametrize(("old", "new"), [(44100, 16000), (16000, 44100), (44100, 48000), (44100, 8000), (8000, 48000)])
@pytest.mark.parametrize("part", [0.05, 0.5, 0.88])
def test_a_tone_in_band_stays_that_tone(old, new, part):
    frequency = part * min(old, new) / 2
    middle = slice(new // 4, -new // 4)
    error = audio.resample(sine(frequency, old), old, new) - sine(frequency, new)
    assert error[middle].abs().max() < 1e-3


@pytest.mark.parametrize("part", [1.01, 1.2, 1.9])
def test_a_tone_above_the_new_nyquist_frequency_goes(part):
    out = audio.resample(sine(part * 8000, 44100), 44100, 16000)
    assert out[4000:-4000].abs().max() < 1e-3


@settings(max_examples=30, deadline=None)
@given(samples=st.integers(1, 5000), old=st.integers(1, 60), new=st.integers(1, 60))
def test_resampled_length(samples, old, new):
    assert audio.resample(torch.ones(samples), old * 100, new * 100).shape == (math.ceil(samples * new / old),)


@pytest.mark.slow
def test_resampled_length_of_long_waveforms():
    samples = (2**24 + 5) // 3 * 2  # torchaudio alone makes this one sample shorter
    waveform = torch.full((samples,), 0.5)
    out = audio.resample(waveform, 2, 3)
    assert len(out) == 2**24 + 5
    torch.testing.assert_close(out[-3000:], audio.resample(waveform[-4000:], 2, 3)[-3000:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("axes", [(), (2,), (3, 2)])
def test_leading_axes_of_resampling(axes):
    waveform = torch.randn(1000, *axes).movedim(0, -1)  # not contiguous
    out = audio.resample(waveform, 3, 2)
    assert out.shape == (*axes, 667)
    for one, other in zip(waveform.reshape(-1, 1000), out.reshape(-1, 667), strict=True):
        torch.testing.assert_close(audio.resample(one, 3, 2), other)


def test_equal_rates_are_the_identity():
    waveform = torch.randn(2, 100)
    assert audio.resample(waveform, RATE, RATE) is waveform


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_resampling_keeps_the_dtype(dtype):
    out = audio.resample(sine(440, 44100, dtype=dtype), 44100, 16000)
    assert out.dtype == dtype
    error = (out.double() - sine(440, 16000, dtype=torch.float64))[2000:-2000].abs().max()
    assert error < {torch.float16: 1e-3, torch.float32: 1e-5, torch.float64: 3e-7}[dtype]


def test_gradients_flow_through_resampling():
    waveform = torch.randn(1, 40, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: audio.resample(x, 3, 2), waveform)


def test_rates_which_would_need_gigabytes_are_refused():
    with pytest.raises(ValueError, match="to_rate must have a larger common divisor with 44100 Hz, got 47999"):
        audio.resample(torch.zeros(10), 44100, 47999)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((torch.zeros(9), 0, 8000), "from_rate must be a positive integer, got 0"),
        ((torch.zeros(9), 8000, -1), "to_rate must be a positive integer, got -1"),
        ((torch.zeros(9), 8000, 16000.0), "to_rate must be a positive integer, got 16000.0"),
        ((torch.zeros(9, dtype=torch.int16), 8000, 16000), "waveform must be floating point .*got torch.int16"),
        ((torch.zeros(()), 8000, 16000), r"waveform must .*got torch.float32 of shape \(\)"),
        ((torch.zeros(2, 0), 8000, 16000), r"waveform must .*of shape \(2, 0\)"),
        ((torch.zeros(0, 9), 8000, 16000), r"waveform must .*of shape \(0, 9\)"),
    ],
)
def test_bad_arguments_of_resampling(arguments, match):
    with pytest.raises(ValueError, match=match):
        audio.resample(*arguments)


def test_rates_may_be_integers_of_numpy(tmp_path):
    waveform = torch.rand(2, 800)
    for kind in (np.int64, np.uint16, np.int32):
        assert torch.equal(audio.resample(waveform, kind(8000), kind(16000)), audio.resample(waveform, 8000, 16000))
        audio.write(tmp_path / "a.flac", waveform, kind(8000))
        assert audio.probe(tmp_path / "a.flac").sample_rate == 8000
        with audio.SourceWriter([tmp_path / "b.wav"], kind(8000)) as writer:
            writer.write(waveform[None])
    for wrong in (np.float64(8000.0), True, np.True_):
        with pytest.raises(ValueError, match="sample_rate must be an integer"):
            audio.write(tmp_path / "c.wav", waveform, wrong)
