"""PROJET on synthetic scenes: location maps and separated sources."""

import math

import pytest
import torch
from scenes import RATE, delayed, delayed_bursts, improvement, noise

from torchsep.functional import optimal_assignment
from torchsep.separators.projet import PROJET
from torchsep.transforms import STFT

SMALL = {"sample_rate": RATE, "stft": STFT(64, 32), "num_iterations": 3}


def scene(*places, length=6400):
    """Sources ``(S, 2, T)``, bursts of tones, each at an angle in degrees and with a delay in samples."""
    time = torch.arange(400, dtype=torch.float64) / RATE
    window = torch.hann_window(400, dtype=torch.float64)
    sources = []
    for seed, (angle, late) in enumerate(places):
        pitch = torch.rand(length // 400, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        tones = torch.sin(2 * math.pi * (200 + 3300 * pitch)[..., None] * time).sum(1)
        signal, turn = (window * tones).flatten(), math.radians(angle)
        sources.append(torch.stack((math.cos(turn) * signal, math.sin(turn) * delayed(signal, late))))
    return torch.stack(sources)


def test_panned_sources_are_located_and_separated():
    sources = scene((20, 0.0), (70, 0.0))
    separator = PROJET(2, max_delay_samples=0, sample_rate=RATE)
    maps = separator.location_map(sources.sum(0))
    assert maps.shape == (2, 30, 1)
    assert maps.sum((1, 2)).tolist() == pytest.approx([1.0, 1.0])
    angles = maps[:, :, 0].argmax(-1) * (90 / 29)
    order = angles.argsort().tolist()
    assert angles[order].tolist() == pytest.approx([20, 70], abs=3.2)
    assert improvement(separator(sources.sum(0))[order], sources) > 12


def test_delayed_sources_are_located_and_separated():
    sources = scene((45, -4.0), (45, 3.0))
    separator = PROJET(2, 30, projection_set_delay=5, sample_rate=RATE)
    mixture = sources.sum(0)
    delays = separator.location_delays(mixture)
    found = delays[separator.location_map(mixture).sum(1).argmax(-1)]
    order = found.argsort().tolist()
    assert found[order].tolist() == pytest.approx([-4.0, 3.0], abs=0.3)
    assert improvement(separator(mixture)[order], sources) > 5


def test_the_grid_is_as_asked_for():
    mixture = noise(3, 2, 500)
    separator = PROJET(2, location_set_panning=7, location_set_delay=4, max_delay_samples=1.5, **SMALL)
    delays = separator.location_delays(mixture)
    assert separator.location_map(mixture).shape == (3, 2, 7, 4)
    assert delays.shape == (3, 4)
    assert (delays.diff() > 0).all()
    assert delays.abs().max() <= 1.5


def test_the_grid_has_the_delays_of_the_sources():
    separator = PROJET(max_delay_samples=6, num_iterations=1, sample_rate=RATE)
    mixture = delayed_bursts((-2.0, 2.5)).sum(0)
    delays = separator.location_delays(mixture)
    assert delays.shape == (17,)
    assert all((delays - delay).abs().min() < 0.1 for delay in (-2.0, 2.5))
    assert separator.location_delays(mixture[None]).equal(delays[None])


def test_its_own_methods_refuse_a_map():
    with pytest.raises(ValueError, match=r"^mixture must be given as a batch, \(B, ...\), since separators process"):
        torch.func.vmap(PROJET(sample_rate=RATE).location_map)(noise(2, 2, 500))


@pytest.mark.parametrize(("delays", "least"), [((-2.0, 2.0), 9), ((-3.0, 0.5, 4.0), 6.5)])
def test_sources_that_differ_in_delay_alone(delays, least):
    sources = delayed_bursts(delays).float()
    estimates = PROJET(len(delays), max_delay_samples=6, num_iterations=20, sample_rate=RATE)(sources.sum(0))
    order = optimal_assignment(-sources.flatten(1) @ estimates.flatten(1).T)
    assert improvement(estimates[order], sources) > least


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_sources": 1}, "num_sources must be at least 2"),
        ({"num_iterations": 0}, "num_iterations must be at least 1"),
        ({"max_delay_samples": -1}, "max_delay_samples must be at least 0"),
        ({"projection_set_panning": 1}, "projection_set_panning must be at least 2"),
        ({"beta": 3.0}, "beta must be at most 2"),
        ({"alpha": 0.0}, "alpha must be above 0"),
        ({"stft": "hann"}, "stft must be an STFT"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PROJET(**{"num_sources": 2, **SMALL, **arguments})


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
@pytest.mark.parametrize(
    ("places", "arguments"),
    [
        (((20, 0), (70, 0)), {"num_iterations": 30, "max_delay_samples": 0}),
        (((45, -4), (45, 3)), {"num_iterations": 100}),
    ],
)
def test_estimates_are_refined_in_their_order(order, places, arguments):
    sources = scene(*places)[order]
    mixture = sources.sum(0)
    given = sources + 0.5 * sources.flip(0)  # each with half of the other
    separator = PROJET(2, projection_set_delay=5, sample_rate=RATE, **arguments)
    refined = separator.refine(mixture, given)
    assert improvement(refined, sources) > improvement(given, sources) + 3
    twice = separator.refine(mixture.expand(2, -1, -1), torch.stack((given, given.flip(0))))
    assert torch.allclose(twice, torch.stack((refined, refined.flip(0))), atol=1e-6)


def test_refinement_is_independent_of_level_and_of_silent_estimates():
    mixture, given = noise(2, 1000), noise(2, 2, 1000, seed=1)
    separator = PROJET(2, **SMALL)
    refined = separator.refine(mixture, given)
    assert torch.allclose(separator.refine(1e-12 * mixture, 1e-12 * given), 1e-12 * refined, rtol=1e-6, atol=1e-20)
    assert torch.allclose(separator.refine(mixture, 100 * given), refined, atol=1e-6)
    assert separator.refine(mixture, 0 * given).isfinite().all()
    assert separator.refine(mixture.float(), given.float()).dtype == torch.float32


def test_wrong_estimates_are_refused():
    separator, mixture = PROJET(2, **SMALL), noise(2, 1000)
    with pytest.raises(ValueError, match="estimates must be of 2 sources, got 3"):
        separator.refine(mixture, noise(3, 2, 1000))
    with pytest.raises(ValueError, match="estimates"):
        separator.refine(mixture, noise(2, 2, 999))
