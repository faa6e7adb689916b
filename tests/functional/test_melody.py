"""Selection of the melody: each rule on constructed contours."""

import math

import pytest
import torch

from torchsep.functional.pitch.contours import Contours
from torchsep.functional.pitch.melody import predominant_melody, select_melody

PERIOD = 0.006
FRAMES = 1000


def contours_of(*rows, items=1):
    """Contours from rows (first frame, pitches in cents, salience[, item])."""
    numbers, frames, pitches, saliences, item = [], [], [], [], []
    for number, (first, cents, salience, *of_item) in enumerate(rows):
        item.append(of_item[0] if of_item else 0)
        pitch = torch.as_tensor(cents, dtype=torch.float64)
        numbers.append(torch.full(pitch.shape, number))
        frames.append(item[-1] * FRAMES + first + torch.arange(len(pitch)))
        pitches.append(pitch)
        saliences.append(torch.full_like(pitch, salience))
    return Contours(*(torch.cat(v) for v in (numbers, frames, pitches, saliences)), torch.tensor(item))


def flat(cents, frames):
    return torch.full((frames,), float(cents))


def vibrato(cents, frames, rate=5.5, depth=25.0):
    return cents + depth * torch.sin(2 * math.pi * rate * PERIOD * torch.arange(frames))


def melody_of(*rows, tolerance=0.2, items=1):
    return select_melody(contours_of(*rows), (items, FRAMES), PERIOD, tolerance)


def test_short_contours_are_unvoiced():
    melody = melody_of((0, flat(1000, 16), 1.0), (100, flat(1000, 17), 1.0))
    assert melody[0].isfinite().nonzero()[:, 0].tolist() == list(range(100, 117))


def test_the_most_salient_in_total_is_the_melody():
    melody = melody_of((0, flat(1000, 300), 1.0), (100, flat(1300, 150), 1.0))[0]
    assert (melody[:300] == 1000).all()
    assert melody[300:].isnan().all()


@pytest.mark.parametrize(("pitch", "is_voiced"), [(flat(1000, 100), False), (vibrato(1000, 100), True)])
def test_a_vibrato_is_a_voice(pitch, is_voiced):
    melody = melody_of((0, flat(1000, 100), 1.0), (200, flat(1000, 100), 1.0), (400, pitch, 0.3))[0]
    assert melody[:100].isfinite().all()
    assert melody[400:500].isfinite().all() == is_voiced


def test_a_swing_too_slow_or_too_small_is_no_vibrato():
    for pitch in (vibrato(1000, 200, rate=2.0), vibrato(1000, 200, depth=5.0)):
        melody = melody_of((0, flat(1000, 100), 1.0), (200, flat(1000, 100), 1.0), (400, pitch, 0.3))[0]
        assert melody[400:].isnan().all()


def test_a_wide_range_is_a_voice():
    glide = torch.linspace(900, 1100, 100)  # its standard deviation is 58 cents
    melody = melody_of((0, flat(1000, 100), 1.0), (200, flat(1000, 100), 1.0), (400, glide, 0.3))[0]
    assert melody[400:500].isfinite().all()


def test_tolerance_admits_the_less_salient():
    rows = (0, flat(1000, 100), 1.0), (200, flat(1000, 100), 1.0), (400, flat(1000, 100), 0.7)
    assert melody_of(*rows)[0, 400:].isnan().all()
    assert melody_of(*rows, tolerance=2.0)[0, 400:500].isfinite().all()


def test_the_octave_nearer_to_the_mean_is_kept():
    around = (0, flat(2200, 400), 1.0), (600, flat(2200, 400), 1.0)
    melody = melody_of(*around, (450, flat(2400, 100), 1.0), (450, flat(1200, 100), 1.2), tolerance=3.0)[0]
    assert (melody[450:550] == 2400).all()
    fifth = melody_of(*around, (450, flat(2400, 100), 1.0), (450, flat(1700, 100), 1.2), tolerance=3.0)[0]
    assert (fifth[450:550] == 1700).all()


def test_what_is_far_from_the_mean_is_not_the_melody():
    rows = (0, flat(2200, 400), 1.0), (600, flat(2200, 400), 1.0)
    assert melody_of(*rows, (450, flat(800, 60), 1.1), tolerance=3.0)[0, 450:510].isnan().all()
    assert melody_of(*rows, (450, flat(1100, 60), 1.1), tolerance=3.0)[0, 450:510].isfinite().all()


def test_items_are_independent():
    rows = [(0, flat(1000, 100), 1.0), (300, vibrato(1500, 80), 0.5), (500, flat(900, 50), 0.9)]
    loud = [(first, pitch + 700, 1e6 * salience, 1) for first, pitch, salience in rows[::-1]]
    together = melody_of(*rows, *loud, items=3)
    assert torch.equal(together[0].nan_to_num(), melody_of(*rows)[0].nan_to_num())
    assert torch.allclose(together[1].nan_to_num(), (melody_of(*rows)[0] + 700).nan_to_num())
    assert together[2].isnan().all()


@pytest.mark.parametrize("level", [1e-18, 1e18])
def test_the_level_plays_no_part(level):
    time = torch.arange(6000, dtype=torch.float64) / 8000
    tone = sum(torch.sin(2 * math.pi * 220 * h * time) / h for h in range(1, 8)) * (time > 0.2)
    plain = predominant_melody(tone[None, None], 8000, 48)
    assert ((plain[0, 45:120] - 220).abs() < 1).all()
    assert (plain[0, :25] == 0).all()
    assert torch.allclose(predominant_melody(level * tone[None, None], 8000, 48), plain, rtol=1e-9)


def test_min_salience_silences_what_is_soft():
    time = torch.arange(16000, dtype=torch.float64) / 8000
    tone = sum(torch.sin(2 * math.pi * 220 * h * time) / h for h in range(1, 8))
    tone *= torch.where(time < 1, 1.0, 0.05)
    free = predominant_melody(tone[None, None], 8000, 48, voicing_tolerance=3.0)
    bound = predominant_melody(tone[None, None], 8000, 48, voicing_tolerance=3.0, min_salience=0.2)
    assert (free[0, 10:150] > 0).all()
    assert (bound[0, 10:150] > 0).all()
    assert (bound[0, 180:] == 0).all()
    assert (bound <= free + 1).all()
