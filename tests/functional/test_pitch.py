"""Spectral peaks and salience against their definitions, and on tones of known pitch."""

import math

import numpy as np
import pytest
import torch
from scenes import noise

from torchsep.functional.pitch.salience import equal_loudness, harmonic_summation, salient_pitches, spectral_peaks


def harmonic_tone(hertz, rate, seconds=0.3, harmonics=6):
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    parts = [
        torch.sin(2 * math.pi * hertz * h * time + h) / h for h in range(1, harmonics + 1) if h * hertz < 0.45 * rate
    ]
    return torch.stack(parts).sum(0)


def plain_peaks(frame, rate, highest):
    """Frequencies and weighted amplitudes of the peaks of one frame ``(L,)``, by the Hann window and its derivative."""
    length = len(frame)
    time = np.arange(length)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * time / length)
    derivative = np.pi / length * np.sin(2 * np.pi * time / length)
    spectrum, turned = np.fft.rfft(frame * window, 4 * length), np.fft.rfft(frame * derivative, 4 * length)
    hertz = np.arange(len(spectrum)) * rate / (4 * length)
    amplitude = np.abs(spectrum) * equal_loudness(torch.from_numpy(hertz)).numpy()
    last = math.ceil(highest * 4 * length / rate) + 2
    peaks = [k for k in range(1, last - 1) if amplitude[k - 1] < amplitude[k] >= amplitude[k + 1]]
    peaks = [k for k in peaks if amplitude[k] > 0.01 * amplitude[:last].max()]
    frequency = [hertz[k] - (turned[k] / spectrum[k]).imag * rate / (2 * np.pi) for k in peaks]
    return np.array(frequency), amplitude[peaks]


def plain_salience(frequency, amplitude, pitch):
    """The salience of one pitch in Hz."""
    total = 0.0
    for f, a in zip(frequency, amplitude, strict=True):
        for h in range(1, 21):
            semitones = 12 * abs(math.log2(f / h / pitch))
            total += 0.85 ** (h - 1) * math.cos(math.pi / 2 * semitones) ** 2 * a if semitones < 1 else 0.0
    return total


def test_peaks_are_the_plain_ones():
    frames = noise(5, 400)
    (item, frame), frequency, amplitude = spectral_peaks(frames[None, None], 8000, 3000.0)
    assert (item == 0).all()
    for number in range(5):
        expected = plain_peaks(frames[number].numpy(), 8000, 3000.0)
        found = frequency[frame == number].numpy(), amplitude[frame == number].numpy()
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-8)
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-8)


@pytest.mark.parametrize("hertz", [87.3, 233.1, 1000.0, 3456.7])
def test_frequency_of_a_tone_is_exact(hertz):
    time = torch.arange(800, dtype=torch.float64) / 16000
    tone = torch.sin(2 * math.pi * hertz * time + 1)
    opposed = torch.stack((tone, -tone, 0 * tone))[None, :, None]
    _, frequency, amplitude = spectral_peaks(opposed, 16000, 5000.0)
    assert frequency[amplitude.argmax()].item() == pytest.approx(hertz, rel=2e-3 if hertz < 100 else 1e-4)


def test_loudness_is_the_standards():
    hertz = torch.tensor([31.62, 100.0, 500.0, 1000.0, 2500.0, 10000.0], dtype=torch.float64)
    decibels = 20 * equal_loudness(hertz).log10()
    table = torch.tensor([-39.4, -19.1, -3.2, 0.0, 1.3, -2.5], dtype=torch.float64)  # of IEC 61672, rounded
    assert torch.allclose(decibels, table, rtol=0, atol=0.06)


def test_summation_is_the_plain_one():
    support = harmonic_summation(400, 150, offset=10)
    for place, pitch in ((10, 0), (130, 0), (127, 1), (200, 3), (399, 149), (5, 0), (0, 100), (300, 42)):
        expected = plain_salience([55 * 2 ** ((place - 10) / 120)], [1.0], 55 * 2 ** (pitch / 120))
        assert support[place, pitch].item() == pytest.approx(expected, abs=1e-6)


def test_salient_pitches_are_the_maxima_of_the_plain_salience():
    waveform = harmonic_tone(220.0, 8000) + 0.7 * harmonic_tone(331.0, 8000) + 0.02 * noise(2400)
    pitch, salience = salient_pitches(waveform.view(1, 1, -1), 8000, hop_length=48)
    frame = waveform[25 * 48 - 192 : 25 * 48 + 192].numpy()
    peaks = plain_peaks(frame, 8000, 4000 - 8000 / 384)
    grid = 55 * 2 ** (np.arange(-1, 602) / 120)
    values = np.array([plain_salience(*peaks, hertz) for hertz in grid])
    maxima = [k for k in range(1, 602) if values[k - 1] < values[k] >= values[k + 1]]
    maxima = sorted(maxima, key=lambda k: -values[k])[:4]
    np.testing.assert_allclose(salience[0, 25, :4].numpy(), values[maxima], rtol=0.02)
    np.testing.assert_allclose(pitch[0, 25, :4].numpy(), 10 * (np.array(maxima) - 1), atol=6)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 192000])
@pytest.mark.parametrize("hertz", [98.0, 251.3, 740.0])
def test_a_tone_has_its_pitch(rate, hertz):
    hop = round(0.006 * rate)
    pitch, salience = salient_pitches(harmonic_tone(hertz, rate)[None, None].float(), rate, hop)
    inside = slice(10, 40)
    assert ((pitch[0, inside, 0] - 1200 * math.log2(hertz / 55)).abs() < 5).all()
    assert (salience[..., 1:] <= salience[..., :-1]).all()


def test_channels_are_summed():
    tone, other = harmonic_tone(200.0, 8000), harmonic_tone(300.0, 8000)
    alone = salient_pitches(tone[None, None], 8000, 48)
    for channels in ((tone, -tone), (0 * tone, tone), (0.6 * tone, 0.8 * tone)):
        pitch, _ = salient_pitches(torch.stack(channels)[None], 8000, 48)
        assert torch.allclose(pitch[0, 10:40, 0], alone[0][0, 10:40, 0], rtol=0, atol=1e-6)
    both, _ = salient_pitches(torch.stack((tone, other))[None], 8000, 48)
    wanted = 1200 * torch.tensor([200 / 55, 300 / 55]).log2()
    assert all((both[0, 25] - cents).abs().min() < 10 for cents in wanted)


def test_items_are_independent():
    waveform = torch.stack((harmonic_tone(200.0, 8000), 1e-6 * noise(2400), torch.zeros(2400).double()))[:, None]
    waveform = torch.cat((waveform, torch.full((1, 1, 2400), torch.nan)))
    pitch, salience = salient_pitches(waveform, 8000, 48)
    assert (salience[2:] == 0).all()
    for item in range(3):
        alone = salient_pitches(waveform[item : item + 1], 8000, 48)
        assert torch.allclose(pitch[item], alone[0][0], rtol=0, atol=1e-6)
        assert torch.allclose(salience[item], alone[1][0], rtol=1e-9, atol=0)


@pytest.mark.parametrize("length", [1, 47, 48, 49, 500])
def test_any_length_has_frames(length):
    pitch, salience = salient_pitches(noise(2, 1, length), 8000, 48, count=7)
    assert pitch.shape == salience.shape == (2, 1 + math.ceil(length / 48), 7)


@pytest.mark.parametrize(("rate", "lowest", "highest"), [(100, 55.0, 1760.0), (8000, 3990.0, 9000.0), (1, 55.0, 60.0)])
def test_pitches_above_the_band_are_left_out(rate, lowest, highest):
    _, salience = salient_pitches(noise(1, 1, 300), rate, 1, lowest, highest)
    assert (salience == 0).all()


def test_a_narrow_range_has_few_pitches():
    pitch, salience = salient_pitches(harmonic_tone(220.0, 8000)[None, None], 8000, 48, 215.0, 225.0, count=20)
    assert salience.shape[-1] == 20
    assert ((salience > 0).sum(-1) <= 3).all()
    assert abs(pitch[0, 25, 0].item() - 1200 * math.log2(220 / 215)) < 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hop_length": 0}, "hop_length must be at least 1"),
        ({"count": 0}, "count must be at least 1"),
        ({"min_frequency_hz": 0.0}, "min_frequency_hz must be above 0"),
        ({"max_frequency_hz": 55.0}, "max_frequency_hz must be above 55"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        salient_pitches(noise(1, 1, 100), 8000, **{"hop_length": 48, **arguments})
