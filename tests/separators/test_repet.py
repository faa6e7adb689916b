"""REPET against a plain reference, on a synthetic scene, and its parameters."""

import math

import numpy as np
import pytest
import torch
from scenes import LOOP_SAMPLES, RATE, improvement, loop_and_voice, noise

from torchsep.functional import beat_spectrum, magnitude, repeating_mask
from torchsep.separators import Repet
from torchsep.transforms import STFT

HOP = 64
PERIOD = LOOP_SAMPLES // HOP


def clicks(period, length, start=100):
    """One channel that clicks every so many samples."""
    signal = torch.zeros(1, length, dtype=torch.float64)
    signal[:, start::period] = 1.0
    return signal


def plain_repet(magnitude, low, high):
    """REPET of one mixture ``(C, F, N)``, one lag, bin and frame at a time: beat spectrum, period and mask."""
    frames = magnitude.shape[-1]
    power = magnitude**2
    beat = np.zeros(frames)
    for lag in range(frames):
        beat[lag] = np.mean(np.sum(power[..., : frames - lag] * power[..., lag:], axis=-1) / (frames - lag))
    period = low + int(np.argmax(beat[low : high + 1]))
    mask = np.empty_like(magnitude)
    for frame in range(frames):
        segment = np.median(magnitude[..., frame % period :: period], axis=-1)
        mask[..., frame] = np.minimum(segment, magnitude[..., frame]) / magnitude[..., frame]
    return beat / beat[0], period, mask


def test_it_is_the_plain_one():
    mixture = torch.stack([noise(2, 4000, seed=seed) + 3 * clicks(800 + 200 * seed, 4000) for seed in range(3)])
    front = STFT(64, 16)
    separator = Repet(min_period=0.03, max_period=0.15, high_pass_cutoff_hz=0.0, sample_rate=8000, stft=front)
    spectrogram = front(mixture)
    masks = separator.masks(spectrogram)
    beats = separator.beat_spectrum(mixture)
    periods = separator.repeating_period(mixture)
    for item in range(3):
        beat, period, mask = plain_repet(spectrogram[item].abs().numpy(), low=15, high=75)
        assert np.abs(beats[item].numpy() - beat).max() < 1e-10
        assert periods[item].item() == pytest.approx(period * 16 / 8000, rel=1e-12)
        assert np.abs(masks[item, 0].numpy() - mask).max() < 1e-12
        assert np.abs(masks[item, 1].numpy() - (1 - mask)).max() < 1e-12
    single = separator.masks(front(mixture.float()))
    assert (single - masks).abs().max() < 1e-3
    assert (single - masks).abs().mean() < 1e-6


def test_the_beat_spectrum_peaks_at_the_loop():
    sources, rate = loop_and_voice()
    beat = Repet(sample_rate=rate).beat_spectrum(sources.sum(0))
    assert beat.shape == (1 + sources.shape[-1] // HOP,)
    assert beat[0] == pytest.approx(1.0)
    assert 20 + beat[20 : 3 * PERIOD // 2].argmax().item() == PERIOD
    assert beat[PERIOD] > 1.3 * beat[PERIOD // 2 - 5 : PERIOD // 2 + 6].max()


@pytest.mark.parametrize("source", [0, 2])
def test_the_period_is_in_seconds(source):
    sources, rate = loop_and_voice()
    mixture = sources[0] if source == 0 else sources.sum(0)
    period = Repet(min_period=0.3, max_period=0.8, sample_rate=rate).repeating_period(mixture)
    assert period.shape == ()
    assert period.item() == pytest.approx(LOOP_SAMPLES / RATE, rel=1e-12)


def test_every_item_has_its_own_period():
    loops = torch.stack([clicks(period, 24000) for period in (4096, 3200, 4608, 2560)]).expand(-1, 3, -1)
    separator = Repet(min_period=0.3, max_period=0.6, sample_rate=8000)
    periods = separator.repeating_period(loops)
    assert periods.tolist() == pytest.approx([0.512, 0.4, 0.576, 0.32], rel=1e-12)
    together = separator(loops + 0.1 * noise(4, 3, 24000))
    alone = torch.stack([separator((loops + 0.1 * noise(4, 3, 24000))[item]) for item in range(4)])
    assert torch.allclose(together, alone, rtol=0, atol=1e-12)


def test_channels_share_a_period():
    """A loud channel's loop decides for all, and the silent channel stays silent."""
    loop = clicks(4096, 24000)
    mixture = torch.cat((loop, 0.1 * clicks(3200, 24000), torch.zeros_like(loop)))
    separator = Repet(min_period=0.3, max_period=0.6, sample_rate=8000)
    assert separator.repeating_period(mixture).item() == pytest.approx(0.512)
    assert torch.equal(separator(mixture)[:, 2], torch.zeros(2, 24000, dtype=torch.float64))


@pytest.mark.parametrize("mask_type", ["soft", "binary"])
def test_loop_and_vocals_are_separated(mask_type):
    sources, rate = loop_and_voice()
    separator = Repet(min_period=0.3, sample_rate=rate, mask_type=mask_type)
    assert improvement(separator(sources.sum(0)), sources) > 6


def test_what_repeats_exactly_is_background():
    loop = noise(2, 1600).repeat(1, 6)
    background, foreground = Repet(min_period=0.1, max_period=0.25, sample_rate=8000)(loop)
    inside = slice(1600, 8000)  # at the ends, frames hold silence beyond the signal
    assert torch.allclose(background[:, inside], loop[:, inside], rtol=0, atol=1e-9)
    assert foreground[:, inside].abs().max() < 1e-9


@pytest.mark.parametrize("level", [1e-6, 1e-20, 1e10])
def test_the_level_plays_no_part(level):
    sources, rate = loop_and_voice()
    mixture = sources.sum(0).float()
    separator = Repet(min_period=0.3, sample_rate=rate)
    plain, scaled = separator(mixture), separator(mixture * level)
    assert separator.repeating_period(mixture * level) == separator.repeating_period(mixture)
    assert torch.allclose(scaled / level, plain, rtol=0, atol=1e-4 * plain.abs().max().item())
    beats = separator.beat_spectrum(torch.stack((mixture, mixture * level)))[:, :256]
    assert torch.allclose(beats[1], beats[0], rtol=0, atol=1e-5)


def test_silence():
    silence = torch.zeros(2, 3, 24000)
    separator = Repet(sample_rate=8000)
    assert torch.equal(separator(silence), torch.zeros(2, 2, 3, 24000))
    assert torch.equal(separator.beat_spectrum(silence), torch.zeros(2, 376))


@pytest.mark.parametrize("cutoff", [0.0, 500.0, 1000.0, 4000.1])
def test_bins_below_the_cutoff_are_background(cutoff):
    separator = Repet(min_period=0.03, high_pass_cutoff_hz=cutoff, sample_rate=8000, stft=STFT(64, 16))
    free = Repet(min_period=0.03, high_pass_cutoff_hz=0.0, sample_rate=8000, stft=STFT(64, 16))
    spectrogram = separator.stft(noise(3, 2, 4000))
    masks, plain = separator.masks(spectrogram), free.masks(spectrogram)
    first = math.floor(cutoff / 125 + 0.5)  # the bin nearest to the cutoff
    assert torch.equal(masks[:, 0, :, :first], torch.ones_like(masks[:, 0, :, :first]))
    assert torch.equal(masks[:, 1, :, :first], torch.zeros_like(masks[:, 0, :, :first]))
    assert torch.equal(masks[..., first:, :], plain[..., first:, :])


def test_a_given_period_is_used():
    mixture = noise(3, 2, 8000)
    separator = Repet(period=0.1024, sample_rate=8000, high_pass_cutoff_hz=0.0)
    periods = separator.repeating_period(mixture)
    assert periods.tolist() == pytest.approx([0.104] * 3)  # on the grid of hops of 8 ms
    expected = repeating_mask(magnitude(separator.stft(mixture)), torch.tensor([13, 13, 13]))
    assert torch.equal(separator.masks(separator.stft(mixture))[:, 0], expected)


def test_a_period_below_a_hop_is_one_hop():
    separator = Repet(period=1e-4, sample_rate=8000)
    assert separator.repeating_period(noise(1, 2000)).item() == pytest.approx(0.008)


def test_the_range_of_periods_is_kept():
    mixture = clicks(3200, 40000)  # 0.4 s, and 0.8, 1.2, ... as well
    found = {}
    for low, high in ((0.3, 0.5), (0.5, 1.0), (1.0, 1.5)):
        found[low] = Repet(low, high, sample_rate=8000).repeating_period(mixture).item()
    assert found == pytest.approx({0.3: 0.4, 0.5: 0.8, 1.0: 1.2})
    for low, high in ((0.3, 0.4), (0.4, 0.7)):  # both ends belong to the range
        assert Repet(low, high, sample_rate=8000).repeating_period(mixture).item() == pytest.approx(0.4)


def test_the_longest_period_is_a_third_of_the_signal():
    separator, mixture = Repet(min_period=0.1, sample_rate=8000), noise(1, 9600)
    for length in (4800, 7200, 9600):
        period = separator.repeating_period(mixture[:, :length]).item()
        assert 0.1 <= period <= length / 8000 / 3 + 1e-9


def test_half_of_a_short_signal_will_do():
    separator = Repet(min_period=0.4, sample_rate=8000)
    mixture = clicks(3456, 8000)  # 0.432 s in a second: a third would be below the shortest period
    assert separator.repeating_period(mixture).item() == pytest.approx(0.432)


def test_the_gradient_is_exact_for_the_period_found():
    mixture = (noise(2, 1, 300) + 4 * clicks(60, 300, start=7)).requires_grad_()
    separator = Repet(min_period=0.004, sample_rate=8000, stft=STFT(16, 4, "hamming"), high_pass_cutoff_hz=0.0)
    assert torch.autograd.gradcheck(separator, mixture, fast_mode=True)


def test_beat_spectrum_and_period_take_one_mixture_or_a_batch():
    mixture = noise(3, 2, 9000)
    separator = Repet(min_period=0.1, sample_rate=8000)
    beats, periods = separator.beat_spectrum(mixture), separator.repeating_period(mixture)
    assert beats.shape == (3, 142)
    assert periods.shape == (3,)
    assert torch.allclose(separator.beat_spectrum(mixture[1]), beats[1], rtol=0, atol=1e-12)
    assert separator.repeating_period(mixture[1]) == periods[1]
    assert torch.allclose(beat_spectrum(magnitude(separator.stft(mixture))), beats, rtol=0, atol=1e-15)


def test_short_mixtures_are_refused_with_the_required_length():
    separator = Repet(min_period=0.8, sample_rate=8000)
    with pytest.raises(ValueError, match=r"must last at least 1\.62 s .* min_period=0\.8 s, got at most 1\.5 s"):
        separator(noise(2, 12000))
    assert separator(noise(2, 12960)).shape == (2, 2, 12960)
    with pytest.raises(ValueError, match="mixture must last at least"):
        separator(noise(2, 1))
    with pytest.raises(ValueError, match=r"period must be shorter than the mixture of .* got 2\.0"):
        Repet(period=2.0, sample_rate=8000)(noise(2, 12000))
    with pytest.raises(ValueError, match=r"mixture must have shape \(B, C, T\) or \(C, T\), got \(12000,\)"):
        separator.beat_spectrum(noise(12000))
    with pytest.raises(ValueError, match="mixture must be floating point"):
        separator.repeating_period(torch.zeros(1, 24000, dtype=torch.int16))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_period": 0.0}, r"min_period must be above 0, got 0\.0"),
        ({"min_period": "1"}, "min_period must be a number, got '1'"),
        ({"min_period": 1.0, "max_period": 1.0}, r"max_period must be above 1, got 1\.0"),
        ({"max_period": math.inf}, "max_period must be finite, got inf"),
        ({"period": 0.0}, r"period must be above 0, got 0\.0"),
        ({"high_pass_cutoff_hz": -1.0}, r"high_pass_cutoff_hz must be at least 0, got -1\.0"),
        ({"mask_type": "ratio"}, "mask_type must be one of soft, binary, got 'ratio'"),
        ({"mask_threshold": -0.1}, "mask_threshold must be at least 0"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        Repet(**arguments, sample_rate=8000)
