"""Timbre clustering."""

import numpy as np
import pytest
import torch
from scenes import RATE, improvement, noise, tones_and_clicks

from torchsep.functional import mean_component_features
from torchsep.functional.mel import normalized_mfcc
from torchsep.functional.nmf.nmf import fit_nmf
from torchsep.separators.timbre_clustering import TimbreClustering
from torchsep.transforms import STFT


def test_the_mean_of_timbres_is_the_plain_one():
    templates, activations, timbres = noise(2, 5, 4).abs(), noise(2, 3, 4, 6, seed=1).abs(), noise(2, 4, 7, seed=2)
    vectors = mean_component_features(templates, activations, timbres)
    assert vectors.shape == (2, 3, 5, 6, 7)
    for item, channel, bin_, frame in np.ndindex(2, 3, 5, 6):
        mean = sum(templates[item, bin_, k] * activations[item, channel, k, frame] * timbres[item, k] for k in range(4))
        assert torch.allclose(vectors[item, channel, bin_, frame], mean / mean.norm())


def test_nothing_has_no_direction():
    templates, timbres = noise(1, 5, 4).abs().requires_grad_(), noise(1, 4, 7)
    vectors = mean_component_features(templates, torch.zeros(1, 1, 4, 6, dtype=torch.float64), timbres)
    assert not vectors.any()
    assert torch.autograd.grad(vectors.sum(), templates)[0].isfinite().all()


def test_features_of_each_channel():
    """Of one factorisation of both: what a channel has does not depend on the order of channels."""
    sources, _ = tones_and_clicks()
    separator = TimbreClustering(n_components=5, sample_rate=RATE, stft=STFT(128))
    spectrogram = separator.stft(torch.stack((sources[0, 0], sources.sum(0)[0]))[None])
    features = separator.features(spectrogram)
    assert features.shape == (1, 2, *spectrogram.shape[2:], 13)
    joined = torch.cat(tuple(spectrogram[0].abs()), -1)
    model = fit_nmf(joined / joined.mean(), 5)
    timbres = normalized_mfcc(model.templates.mT.square(), RATE)[None]
    frames = spectrogram.shape[-1]
    for channel, part in enumerate(model.activations.split(frames, -1)):
        expected = mean_component_features(model.templates[None], part[None, None], timbres)
        assert torch.allclose(features[:, channel], expected[:, 0], atol=1e-8)


@pytest.mark.parametrize(
    "arguments",
    [
        {"alpha": 0.5},
        {"alpha": 0.5, "l1_ratio": 1.0},
        {"nmf_init": "nndsvd"},
        {"alpha": 0.5, "l1_ratio": 0.5, "nmf_init": "nndsvd", "beta_loss": "frobenius"},
    ],
)
def test_arguments_of_the_factorisation_reach_it(arguments):
    mixture = tones_and_clicks()[0].sum(0)[None, :, :6000]
    shared = {"n_components": 5, "max_iter": 20}
    separator = TimbreClustering(**shared, **arguments, sample_rate=RATE)
    spectrogram = separator.stft(mixture)
    given = {"init" if name == "nmf_init" else name: value for name, value in arguments.items()}
    level = spectrogram[:, 0].abs()
    model = fit_nmf(level / level.mean(), **shared, **given)
    timbres = normalized_mfcc(model.templates.mT.square(), RATE)
    expected = mean_component_features(model.templates, model.activations[:, None], timbres)
    features = separator.features(spectrogram)
    assert torch.allclose(features, expected, atol=1e-8)
    usual = TimbreClustering(**shared, sample_rate=RATE).features(spectrogram)
    assert not torch.allclose(features, usual, atol=1e-3)


@pytest.mark.parametrize("arguments", [{}, {"mask_type": "binary"}, {"beta_loss": "frobenius", "n_mfcc": 20}])
def test_tones_and_clicks_are_separated(arguments):
    sources, rate = tones_and_clicks()
    estimates = TimbreClustering(n_components=10, sample_rate=rate, **arguments)(sources.sum(0))
    assert max(improvement(estimates, sources), improvement(estimates.flip(0), sources)) > 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_components": 0}, "n_components must be at least 2, got 0"),
        ({"n_mfcc": 0}, "n_mfcc must be at least 2, got 0"),
        ({"n_mfcc": 129}, "n_mfcc must be at most 128, got 129"),
        ({"beta_loss": "euclid"}, "beta_loss must be one of"),
        ({"max_iter": 0}, "max_iter must be at least 1"),
        ({"l1_ratio": 2.0}, "l1_ratio must be at most 1, got 2.0"),
        ({"alpha": -1.0}, "alpha must be at least 0, got -1.0"),
        ({"nmf_init": "svd"}, "nmf_init must be one of random, nndsvd, got 'svd'"),
        ({"num_sources": 1}, "num_sources must be at least 2"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        TimbreClustering(**arguments, sample_rate=8000)
