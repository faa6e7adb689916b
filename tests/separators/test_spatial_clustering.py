"""Spatial clustering of panned, delayed and inverted sources, with two and three channels."""

import pytest
import torch
from scenes import RATE, bursts, delayed, delayed_bursts, improvement, noise

from torchsep.functional import optimal_assignment
from torchsep.functional.spatial.features import spatial_features
from torchsep.separators.spatial_clustering import SpatialClustering
from torchsep.transforms import STFT


def scene(*places):
    """Sources ``(S, C, T)`` whose channels after the first have a gain and a delay in samples each."""
    return torch.stack(
        [
            torch.stack([bursts(seed), *(gain * delayed(bursts(seed), late) for gain, late in others)])
            for seed, others in enumerate(places)
        ]
    )


SCENES = {
    "panned": scene([(0.4, 0.0)], [(2.2, 0.0)]),
    "delayed": scene([(1.0, -5.3)], [(1.0, 3.6)]),
    "inverted": scene([(0.8, 0.0)], [(-0.8, 0.0)]),
    "three channels": scene([(1.0, 2.0), (1.0, -2.0)], [(1.0, -3.0), (1.0, 1.0)]),
}


@pytest.mark.parametrize("name", SCENES)
def test_sources_are_separated(name):
    sources = SCENES[name]
    estimates = SpatialClustering(sample_rate=RATE)(sources.sum(0))
    scores = [improvement(estimates[list(order)], sources) for order in ((0, 1), (1, 0))]
    assert max(scores) > 10


@pytest.mark.parametrize(("delays", "least"), [((-2.0, 2.0), 9), ((-3.0, 0.5, 4.0), 5)])
def test_sources_that_differ_in_delay_alone(delays, least):
    sources = delayed_bursts(delays).float()
    for seed in range(3):
        estimates = SpatialClustering(len(delays), seed=seed, sample_rate=RATE)(sources.sum(0))
        order = optimal_assignment(-sources.flatten(1) @ estimates.flatten(1).T)
        assert improvement(estimates[order], sources) > least


def test_features_are_the_functions():
    separator = SpatialClustering(max_delay=0.002, sample_rate=RATE, stft=STFT(64, 16))
    spectrogram = separator.stft(noise(2, 3, 500))
    assert torch.equal(separator.features(spectrogram), spatial_features(spectrogram, 16.0))


def test_one_channel_is_refused():
    with pytest.raises(ValueError, match="mixture must have at least 2 channels, got 1"):
        SpatialClustering(sample_rate=RATE)(noise(1, 1000))


def test_bad_delay_is_refused():
    with pytest.raises(ValueError, match="max_delay must be at least 0, got -1"):
        SpatialClustering(max_delay=-1, sample_rate=RATE)
