"""Effects that build mixtures of dry recordings."""

import math

import pytest
import torch
from scenes import noise
from torchaudio.functional import loudness

from torchsep.data import LoudnessNormalization, RandomDelay, RandomEqualizer, RandomPan

RATE = 16000
EFFECTS = [RandomPan(), RandomDelay(4), LoudnessNormalization(RATE), RandomEqualizer(RATE)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def stereo(samples=RATE):
    return (0.1 * noise(1, samples)).float().expand(2, -1).clone()


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: type(effect).__name__)
@pytest.mark.parametrize("samples", [1, 3, 5000])
def test_any_length_and_silence(effect, samples):
    waveform = stereo(samples)
    before = waveform.clone()
    for seed in range(5):
        assert effect(waveform, generator(seed)).shape == (2, samples)
        assert effect(waveform, generator(seed)).isfinite().all()
        assert torch.equal(effect(waveform, generator(seed)), effect(waveform, generator(seed)))
        assert not effect(torch.zeros(2, samples), generator(seed)).any()
    assert torch.equal(waveform, before)


def test_panning_keeps_the_power_and_covers_its_range():
    waveform = stereo()
    placed = [RandomPan(-0.5, 1.0)(waveform, generator(seed)).square().mean(1) for seed in range(300)]
    powers = torch.stack(placed)
    assert torch.allclose(powers.sum(1), 2 * waveform[0].square().mean().expand(300), rtol=1e-5)
    shares = powers[:, 1] / powers.sum(1)
    assert shares.min() == pytest.approx(math.sin(math.pi / 8) ** 2, abs=0.02)
    assert shares.max() == pytest.approx(1.0, abs=0.02)


def test_delays_are_whole_samples_of_either_channel():
    waveform = stereo(100)
    found = set()
    for seed in range(200):
        left, right = RandomDelay(2)(waveform, generator(seed))
        for delay in range(-2, 3):
            first, second = (left[-delay:], right[: 100 + delay]) if delay < 0 else (left[: 100 - delay], right[delay:])
            if torch.equal(first, second):
                found.add(delay)
    assert found == {-2, -1, 0, 1, 2}


@pytest.mark.parametrize("samples", [2000, 48000])
def test_loudness_is_the_target(samples):
    normalised = LoudnessNormalization(RATE, -30.0)(stereo(samples), generator())
    assert loudness(normalised.repeat(1, 4), RATE).item() == pytest.approx(-30.0, abs=0.5)


def test_equalizer_changes_one_band_by_at_most_its_gain_and_does_not_clip():
    waveform = 8 * stereo(2 * RATE)
    before = torch.fft.rfft(waveform[0].double()).abs()
    for seed in range(5):
        effect = RandomEqualizer(RATE, 6.0, 1000.0, 1000.0)
        after = torch.fft.rfft(effect(waveform, generator(seed))[0].double()).abs()
        gains = 20 * torch.log10(after / before)
        assert gains.abs().median() < 0.5  # far from the band
        band = gains[1950:2050].median()  # around 1 kHz
        assert 0.1 < abs(band) < 6.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomPan(0.5, 0.0), "high must be at least 0.5, got 0.0"),
        (lambda: RandomDelay(-1), "max_delay_samples must be at least 0, got -1"),
        (lambda: LoudnessNormalization(RATE, 3.0), "target must be at most 0, got 3.0"),
        (lambda: RandomEqualizer(RATE, max_frequency_hz=9000.0), "max_frequency_hz must be at most 8000, got 9000.0"),
        (
            lambda: RandomPan()(torch.ones(1, 3), generator()),
            "waveform must have 2 channels to be placed in stereo, got 1",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()
