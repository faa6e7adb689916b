"""Augmentations of one waveform."""

import math

import pytest
import torch

from torchsep.data.augmentation import (
    Compose,
    RandomChannelSwap,
    RandomGain,
    RandomPitch,
    RandomPolarity,
    RandomSpeed,
    fit_length,
    stretch_of,
)

RATE = 8000
ALL = [
    RandomGain(),
    RandomPolarity(),
    RandomChannelSwap(),
    RandomSpeed(),
    RandomPitch(n_fft=512),
    Compose([RandomSpeed(), RandomGain()]),
]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def tone(hertz, samples=RATE, channels=2):
    sine = torch.sin(2 * math.pi * hertz * torch.arange(samples) / RATE)
    return torch.stack([sine * (channel + 1) / channels for channel in range(channels)])


def peak_hertz(waveform):
    """Frequency of the maximum of the spectrum, without the edges."""
    inside = waveform[0, len(waveform[0]) // 8 : -len(waveform[0]) // 8].double()
    spectrum = torch.fft.rfft(inside * torch.hann_window(len(inside), dtype=torch.float64), n=2**18).abs()
    return spectrum.argmax().item() * RATE / 2**18


@pytest.mark.parametrize("augment", ALL, ids=lambda augment: type(augment).__name__)
def test_each_depends_on_the_generator_alone_and_leaves_its_input(augment):
    waveform = tone(440) + 0.1 * tone(1000)
    before, state = waveform.clone(), torch.get_rng_state()
    first, second = augment(waveform, generator(3)), augment(waveform, generator(3))
    assert torch.equal(first, second)
    assert torch.equal(waveform, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.dtype == waveform.dtype
    assert len({tuple(augment(waveform, generator(seed))[:, 40].tolist()) for seed in range(20)}) > 1


@pytest.mark.parametrize("augment", ALL, ids=lambda augment: type(augment).__name__)
def test_silence_stays_silent(augment):
    assert not augment(torch.zeros(2, 3000), generator()).any()


@pytest.mark.parametrize("augment", ALL, ids=lambda augment: type(augment).__name__)
@pytest.mark.parametrize("samples", [1, 50])
def test_short_waveforms_are_taken(augment, samples):
    for seed in range(5):
        assert augment(torch.ones(1, samples), generator(seed)).isfinite().all()


def test_gain_is_within_its_bounds_and_spread_over_them():
    gains = [20 * math.log10(RandomGain(-6, 3)(torch.ones(1, 1), generator(seed)).item()) for seed in range(200)]
    assert min(gains) >= -6
    assert max(gains) <= 3
    assert max(gains) - min(gains) > 8


@pytest.mark.parametrize("kind", [RandomPolarity, RandomChannelSwap])
def test_probability(kind):
    waveform = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    changed = [not torch.equal(kind(0.25)(waveform, generator(seed)), waveform) for seed in range(400)]
    assert 0.15 < sum(changed) / 400 < 0.35
    assert torch.equal(kind(0.0)(waveform, generator()), waveform)


@pytest.mark.parametrize("speed", [0.8, 0.9, 1.1, 1.25])
def test_speed_changes_pitch_and_duration(speed):
    faster = RandomSpeed([speed])(tone(440), generator())
    assert faster.shape[-1] == math.ceil(round(RATE / speed, 6))
    assert peak_hertz(faster) == pytest.approx(440 * speed, rel=2e-3)


@pytest.mark.parametrize("semitones", [-7, -2, -1, 1, 2, 12])
def test_pitch_is_transposed_and_the_duration_kept(semitones):
    higher = RandomPitch([semitones], n_fft=512)(tone(440), generator())
    assert higher.shape == (2, RATE)
    cents = 1200 * math.log2(peak_hertz(higher) / 440)
    assert cents == pytest.approx(100 * semitones, abs=4)
    inside = slice(1000, -1000)
    assert higher[1, inside].square().mean() == pytest.approx(tone(440)[1].square().mean().item(), rel=0.3)
    assert torch.allclose(2 * higher[0], higher[1], atol=1e-4)  # channels stay together


def test_no_transposition_is_none_at_all():
    waveform = tone(300)
    assert torch.equal(RandomPitch([0])(waveform, generator()), waveform)


def test_composition_is_in_order_and_knows_how_much_it_needs():
    halved = Compose([lambda waveform, _: waveform + 1, lambda waveform, _: waveform * 2])
    assert torch.equal(halved(torch.ones(1, 1), generator()), torch.full((1, 1), 4.0))
    assert halved.stretch == 1.0
    assert Compose([RandomSpeed([0.9, 1.1]), RandomSpeed([2.0])]).stretch == pytest.approx(2.2)
    assert stretch_of(None) == 1.0


@pytest.mark.parametrize(("length", "expected"), [(2, [1, 2]), (3, [1, 2, 3]), (5, [1, 2, 3, 0, 0])])
def test_fit_length(length, expected):
    assert fit_length(torch.tensor([[1, 2, 3]]), length).tolist() == [expected]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomGain(1, 0), "^high must be at least 1, got 0$"),
        (lambda: RandomPolarity(1.5), "^probability must be at most 1, got 1.5$"),
        (lambda: RandomChannelSwap(-0.1), "^probability must be at least 0"),
        (lambda: RandomSpeed([]), "^speeds must hold at least one number, got none$"),
        (lambda: RandomSpeed([0.0]), "^speeds must be at least 0.25"),
        (lambda: RandomPitch([40]), "^semitones must be at most 24"),
        (lambda: RandomPitch(n_fft=2), "^n_fft must be at least 8"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
