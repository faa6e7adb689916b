"""Pitch contours against a plain sequential reference, and edge cases."""

import pytest
import torch
from scenes import noise

from torchsep.functional.pitch.contours import pitch_contours


def plain_contours(pitch, salience, max_jump, max_gap):
    """Contours of one item, as lists of (frame, slot), one pitch after the other."""
    frames, count = pitch.shape
    strong = (salience > 0) & (salience >= 0.9 * salience.amax(-1, keepdim=True))
    values = salience[strong]
    strong &= salience >= values.mean() - 0.9 * values.std(correction=0)
    following, begins = {}, [(n, k) for n in range(frames) for k in range(count) if salience[n, k] > 0]

    def nearest(cents, frame):
        known = [(abs(float(pitch[frame, k]) - cents), k) for k in range(count) if salience[frame, k] > 0]
        return min(known, default=(float("inf"), None))

    for n, k in list(begins):
        distance, other = nearest(float(pitch[n, k]), n + 1) if n + 1 < frames else (float("inf"), None)
        if distance <= max_jump and nearest(float(pitch[n + 1, other]), n)[1] == k:
            following[n, k] = (n + 1, other)
            begins.remove((n + 1, other))
    contours = []
    for point in begins:
        chain = [point]
        while chain[-1] in following:
            chain.append(following[chain[-1]])
        places = [place for place, (n, k) in enumerate(chain) if strong[n, k]]
        while places:
            end = 0
            while end + 1 < len(places) and places[end + 1] - places[end] <= max_gap + 1:
                end += 1
            contours.append(chain[places[0] : places[end] + 1])
            places = places[end + 1 :]
    return contours


def random_pitches(items, frames, count):
    """Pitches that wander, with gaps, and saliences of which some are missing."""
    pitch = 100 * (300 * torch.rand(items, frames, count, generator=torch.Generator().manual_seed(0))).floor()
    walks = 40 * noise(items, frames, count).cumsum(1) + 1000 * torch.arange(count)
    pitch = torch.where(noise(items, frames, count, seed=1) > -1.2, walks, pitch.double())
    salience = noise(items, frames, count, seed=2).abs() + 0.5
    return pitch, salience.where(noise(items, frames, count, seed=3) > -1.5, 0.0)


def as_sets(contours, item, frames):
    points = zip(contours.contour.tolist(), contours.row.tolist(), contours.pitch.tolist(), strict=True)
    groups = {}
    for number, row, cents in points:
        if contours.item[number] == item:
            groups.setdefault(number, []).append((row - item * frames, cents))
    return sorted(groups.values())


@pytest.mark.parametrize(("max_jump", "max_gap"), [(80.0, 3), (30.0, 0), (200.0, 17)])
def test_contours_are_the_plain_ones(max_jump, max_gap):
    pitch, salience = random_pitches(3, 60, 4)
    contours = pitch_contours(pitch, salience, max_jump, max_gap)
    for item in range(3):
        plain = plain_contours(pitch[item], salience[item], max_jump, max_gap)
        expected = sorted([(n, pitch[item, n, k].item()) for n, k in chain] for chain in plain)
        assert len(expected) > 5
        assert as_sets(contours, item, 60) == expected


def test_many_frames_are_as_few(monkeypatch):
    pitch, salience = random_pitches(2, 60, 4)
    expected = pitch_contours(pitch, salience)
    monkeypatch.setattr("torchsep.functional.pitch.contours._BLOCK", 7)
    contours = pitch_contours(pitch, salience)
    assert torch.equal(contours.row, expected.row)
    assert torch.equal(contours.contour, expected.contour)


def line(frames, weak=()):
    """One pitch a frame, at 1000 cents, and a second that is the strong one in some frames."""
    pitch = torch.tensor([1000.0, 3000.0]).double().repeat(1, frames, 1)
    salience = torch.tensor([1.0, 0.1]).double().repeat(1, frames, 1)
    for frame in weak:
        salience[0, frame] = torch.tensor([0.5, 1.0])
    return pitch, salience


def test_weak_pitches_bridge_gaps_up_to_the_longest():
    pitch, salience = line(20, weak=range(5, 8))
    whole = pitch_contours(pitch, salience, max_gap=3)
    broken = pitch_contours(pitch, salience, max_gap=2)
    assert sorted(whole.length.tolist()) == [3, 20]
    assert sorted(broken.length.tolist()) == [3, 5, 12]


def test_jumps_break_contours():
    pitch, salience = line(20)
    pitch[:, 10:] += 81
    assert sorted(pitch_contours(pitch, salience, max_jump=80.0).length.tolist()) == [10, 10]
    assert sorted(pitch_contours(pitch, salience, max_jump=81.0).length.tolist()) == [20]


def test_sums_and_means_are_of_contours():
    pitch = torch.tensor([[[1.0], [2.0], [600.0]], [[5.0], [5.0], [5.0]]])
    contours = pitch_contours(pitch, torch.tensor([[[1.0], [1.0], [1.0]], [[2.0], [2.0], [2.0]]]))
    assert contours.item.tolist() == [0, 0, 1]
    assert contours.row.tolist() == [0, 1, 2, 3, 4, 5]
    assert contours.total(contours.salience).tolist() == [2.0, 1.0, 6.0]
    assert contours.mean(contours.pitch).tolist() == [1.5, 600.0, 5.0]


def test_silence_has_no_contours():
    contours = pitch_contours(torch.zeros(2, 5, 3), torch.zeros(2, 5, 3))
    assert len(contours.item) == len(contours.row) == 0


def test_one_frame_is_a_contour():
    assert pitch_contours(torch.ones(1, 1, 1), torch.ones(1, 1, 1)).length.tolist() == [1]


@pytest.mark.parametrize(("argument", "value"), [("max_jump", -1.0), ("max_gap", -1)])
def test_bad_arguments_are_refused(argument, value):
    with pytest.raises(ValueError, match=f"{argument} must be at least 0"):
        pitch_contours(torch.ones(1, 1, 1), torch.ones(1, 1, 1), **{argument: value})
