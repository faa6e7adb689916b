"""Spatial features against plain definitions, and recovery of known delays."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scenes import noise

from torchsep import STFT
from torchsep.functional.spatial.delay_histogram import (
    delay_weights,
    histogram_peaks,
    phase_histogram,
    phase_kernel,
    steered_response,
)
from torchsep.functional.spatial.features import level_difference, spatial_features, symmetric_attenuation, unit_cross
from torchsep.functional.spatial.projections import fit_projections, recombine_projections, steering_vectors

FRONT = STFT(128, 32)


def delayed(signal, delay):
    """A signal later by a number of samples, which need not be whole; it is taken as periodic."""
    turns = torch.arange(signal.shape[-1] // 2 + 1, dtype=torch.float64) * (2 * math.pi / signal.shape[-1])
    return torch.fft.irfft(torch.fft.rfft(signal) * torch.polar(torch.ones_like(turns), -turns * delay))


def stereo(gain, delay, length=8000, seed=0):
    signal = noise(length, seed=seed)
    return torch.stack((signal, gain * delayed(signal, delay)))


def counted(mixture):
    spectrogram = FRONT(mixture)
    first, second = spectrogram[:, 0], spectrogram[:, 1]
    weights = (first * second).abs()
    weights[:, 0] = 0
    return phase_histogram(second * first.conj(), weights)


def test_histogram_is_the_plain_one():
    cross = torch.complex(noise(2, 3, 50), noise(2, 3, 50, seed=1))
    weights, level = noise(2, 3, 50, seed=2).abs(), 5 * noise(2, 3, 50, seed=3)
    histogram = phase_histogram(cross, weights, level, 4).numpy()
    plain = np.zeros_like(histogram)
    for item, row, column in np.ndindex(2, 3, 50):
        phase = cross[item, row, column].angle().item() / (2 * np.pi) * 64
        place = min(3.0, max(0.0, level[item, row, column].item()))
        weight = weights[item, row, column].item()
        for number, share in ((math.floor(place), 1 - place % 1), (math.floor(place) + 1, place % 1)):
            if share > 0:
                plain[item, number, row, math.floor(phase) % 64] += weight * share * (1 - phase % 1)
                plain[item, number, row, math.floor(phase + 1) % 64] += weight * share * (phase % 1)
    assert np.abs(histogram - plain).max() < 1e-10
    assert histogram.sum() == pytest.approx(weights.sum().item())


def test_steering_is_the_sum_of_the_kernel():
    histogram = noise(2, 3, 9, 64).abs()
    delays = torch.tensor([-2.5, 0.0, 0.25])
    phase = torch.arange(64, dtype=torch.float64) * (2 * math.pi / 64)
    turned = phase + (2 * math.pi / 16) * torch.arange(9).double()[:, None] * delays.double()[:, None, None]
    expected = torch.einsum("bafp,dfp->bad", histogram, ((1 + turned.cos()) / 2) ** 16)
    assert (steered_response(histogram, delays, 16) - expected).abs().max() < 1e-10
    assert phase_kernel(torch.tensor(0.5, dtype=torch.float64)).item() == pytest.approx(0.75**16)


@pytest.mark.parametrize("delay", [-5.25, 0.0, 0.5, 7.0])
def test_a_delay_is_found_beyond_the_aliasing_bound(delay):
    delays = torch.arange(-40, 41) * 0.25
    histogram = counted(stereo(0.8, delay)[None])
    assert delays[steered_response(histogram, delays, 128)[0, 0].argmax()] == pytest.approx(delay)
    weights = delay_weights(histogram[:, 0], delays, 128)
    assert weights.sum().item() == pytest.approx(1.0)
    assert delays[weights[0, 0].argmax()] == pytest.approx(delay)
    assert weights[0, 0, (delays - delay).abs() < 0.3].sum() > 0.9


def test_inverted_channels_differ_from_a_delay():
    mixture = stereo(-0.8, 1.5)[None]
    delays = torch.arange(-20, 21) * 0.25
    weights = delay_weights(counted(mixture)[:, 0], delays, 128)
    assert weights[0, 1].sum() > 0.9
    assert delays[weights[0, 1].argmax()] == pytest.approx(1.5)


def test_weights_stay_equal_where_nothing_is_counted():
    weights = delay_weights(torch.zeros(1, 5, 64, dtype=torch.float64), torch.tensor([-1.0, 0.0, 1.0]), 8)
    assert torch.equal(weights, torch.full_like(weights, 1 / 6))


def test_a_weak_peak_is_found_beside_a_strong_one():
    mixture = torch.cat((stereo(1.0, 3.0), 0.7 * stereo(1.0, 1.0, seed=1)), -1)[None]
    delays = torch.arange(-20, 21) * 0.25
    rows, columns, heights = histogram_peaks(counted(mixture), delays, 128, 2, (1, 1))
    assert rows.tolist() == [[0, 0]]
    assert delays[columns[0]].tolist() == [3.0, 1.0]
    assert heights[0, 0] > heights[0, 1] > 0


def test_level_and_phase_differences():
    first, second = torch.tensor([2.0 + 0j, 1j, 0j]), torch.tensor([-1.0 + 0j, 1j, 3.0 + 0j])
    assert unit_cross(first, second).tolist() == [-1.0, 1.0, 0.0]
    assert symmetric_attenuation(first.abs(), second.abs()).tolist() == [-1.5, 0.0, math.inf]
    powers = torch.tensor([1.0, 4.0, 0.0, 1e30], dtype=torch.float64), torch.tensor([2.0, 4.0, 0.0, 0.0]).double()
    levels = level_difference(*powers)
    assert levels[0].item() == pytest.approx(12 * math.tanh(10 * math.log10(2) / 12), rel=1e-3)
    assert levels[1:3].tolist() == [0.0, 0.0]
    assert -12 < levels[3] < -11.9
    assert torch.allclose(level_difference(*powers[::-1]), -levels)


def test_a_place_has_one_feature_at_all_frequencies():
    spectrogram = FRONT(torch.cat((stereo(0.5, -3.0), stereo(1.5, 3.0, seed=1)), -1)[None])
    features = spatial_features(spectrogram, 8.0)[0, 0]
    halves = [half.flatten(0, 1) for half in (features[16:-1, 5:240], features[16:-1, 265:500])]
    for half in halves:  # but for the few frequencies at which both delays have one phase
        assert (half.quantile(0.75, 0) - half.quantile(0.25, 0)).max() < 0.5
    assert (halves[0].median(0).values - halves[1].median(0).values).norm() > 1.5


def test_features_of_every_pair():
    spectrogram = FRONT(noise(2, 3, 1000))
    features = spatial_features(spectrogram, 4.0)
    assert features.shape == (2, 1, 65, 33, 9)
    for number, pair in enumerate(([0, 1], [0, 2], [1, 2])):
        alone = spatial_features(spectrogram[:, pair], 4.0)
        assert (features[..., 3 * number : 3 * number + 3] - alone).abs().max() < 1e-9


def test_features_of_silence_and_of_a_non_finite_item():
    spectrogram = FRONT(torch.stack((noise(2, 500), torch.zeros(2, 500).double(), torch.full((2, 500), math.nan))))
    features = spatial_features(spectrogram, 4.0)
    assert features[:2].isfinite().all()
    assert (features[0] - spatial_features(spectrogram[:1], 4.0)[0]).abs().max() < 1e-12


def test_gradient_of_features():
    mixture = noise(1, 2, 60).requires_grad_()
    front = STFT(16, 8)
    assert torch.autograd.gradcheck(lambda mixture: spatial_features(front(mixture), 2.0), mixture, fast_mode=True)


def located(num_iterations, mixture, directions=4, bins=3, count=2):
    angles = torch.arange(directions) * (math.pi / directions)
    directions = steering_vectors(angles, torch.tensor([[-1.0, 1.0]]), 4).to(mixture)
    places = steering_vectors(torch.linspace(0, math.pi / 2, 5), torch.tensor([[-1.0, 0.0, 1.0]]), 4).to(mixture)
    gains = (directions.conj() @ places.mT).abs()
    start = noise(1, bins, count, mixture.shape[-1], seed=1).abs() + 0.1, noise(1, 15, count, seed=2).abs()
    start = start[0], start[1] / start[1].sum(1, keepdim=True)
    return directions, gains, fit_projections(mixture, directions, gains, start, num_iterations)


def divergence(mixture, directions, gains, model):
    observed = (directions.conj() @ mixture.movedim(1, 2)).abs()
    observed = observed / observed.mean()
    expected = (gains @ model[1][:, None]) @ model[0]
    return (observed * (observed / expected).log() - observed + expected).sum().item()


def test_updates_lower_the_divergence():
    mixture = torch.complex(noise(1, 2, 3, 7), noise(1, 2, 3, 7, seed=4))
    values = [divergence(mixture, *located(count, mixture)) for count in (1, 2, 4, 8, 16, 32)]
    assert all(after < before for before, after in pairwise(values))
    model = located(16, mixture)[2]
    assert model[1].sum(1).tolist()[0] == pytest.approx([1.0, 1.0])


def test_projected_sources_add_up_and_are_the_least_squares():
    mixture = torch.complex(noise(1, 2, 3, 7), noise(1, 2, 3, 7, seed=4))
    directions, gains, (sources, maps) = located(4, mixture)
    through = gains @ maps[:, None]
    shared = recombine_projections(mixture, directions, sources, through)
    assert (shared.sum(1) - mixture).abs().max() < 1e-12
    models = through[..., None] * sources[:, :, None]
    share = (models / models.sum(3, keepdim=True))[0, 1, :, 0] * (directions[0, 1].conj() @ mixture[0, :, 1])
    expected = np.linalg.lstsq(directions[0, 1].conj().resolve_conj().numpy(), share.numpy(), rcond=None)[0]
    assert np.abs(shared[0, 0, :, 1].numpy() - expected).max() < 1e-6


def test_gradient_of_updates():
    mixture = torch.complex(noise(1, 2, 3, 4), noise(1, 2, 3, 4, seed=4)).requires_grad_()
    assert torch.autograd.gradcheck(lambda mixture: located(5, mixture)[2], mixture, fast_mode=True)


def most_bytes(num_iterations):
    """The most memory in use at once while a gradient is computed, in bytes."""
    mixture = torch.complex(noise(1, 2, 3, 100), noise(1, 2, 3, 100, seed=4)).requires_grad_()
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True, acc_events=True) as profile:
        located(num_iterations, mixture, directions=30)[2][0].square().sum().backward()
    changes = [event.nbytes() for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    return np.cumsum(changes).max()


@pytest.mark.slow
def test_memory_of_backward_hardly_grows_with_the_iterations():
    assert most_bytes(100) < 1.5 * most_bytes(10)
