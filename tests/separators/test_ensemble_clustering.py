"""Ensemble clustering."""

import pytest
import torch
from scenes import improvement, loop_and_voice, noise, si_sdr, tones_and_clicks

from torchsep import build
from torchsep.functional import clipped_ratio_masks
from torchsep.separators import FT2D, HPSS, EnsembleClustering, MixAsEstimate, Repet, RepetSim
from torchsep.transforms import STFT

SMALL = {"sample_rate": 8000, "stft": STFT(64, 16)}


def parts():
    return [HPSS(kernel_size=5, **SMALL), FT2D(**SMALL)]


def sorted_by(estimates, sources):
    scores = torch.stack([si_sdr(estimates, source).mean(-1) for source in sources])
    return estimates[scores.argmax(1)]


def test_features_are_the_masks_of_all():
    first, second = parts()
    ensemble = EnsembleClustering([first, second], weights=[2.0, 0.5], source_indices=[[1], [0, 1]], **SMALL)
    spectrogram = ensemble.stft(noise(3, 2, 401))
    features = ensemble.features(spectrogram)
    assert features.shape == (3, 2, 33, spectrogram.shape[-1], 3)
    assert torch.equal(features[..., 0], 2 * first.masks(spectrogram)[:, 1])
    assert torch.equal(features[..., 1:].movedim(-1, 1), 0.5 * second.masks(spectrogram).expand(-1, -1, 2, -1, -1))


def test_features_are_the_shares_of_all_estimates():
    mixture = noise(3, 2, 401)
    separators = [HPSS(sample_rate=8000, stft=STFT(128)), MixAsEstimate(3, sample_rate=8000)]
    ensemble = EnsembleClustering(separators, extracted_feature="estimates", **SMALL)
    spectrogram = ensemble.stft(mixture)
    features = ensemble.features(spectrogram)
    estimates = torch.cat([separator(mixture) for separator in separators], 1)
    expected = ensemble.stft(estimates).abs() / spectrogram.abs()[:, None]
    inner = slice(4, -8)  # away from the ends, where the signal's length shows
    assert torch.allclose(features.movedim(-1, 1)[..., inner], expected.clamp(max=1)[..., inner], atol=1e-6)
    assert torch.allclose(features[..., 2:], torch.tensor(1 / 3).double(), atol=1e-6)


@pytest.mark.parametrize("feature", ["masks", "estimates"])
def test_a_cascade_separates_what_was_separated(feature):
    first, second = parts()
    ensemble = EnsembleClustering([first, second], num_cascades=2, extracted_feature=feature, weights=[1, 3], **SMALL)
    mixture = noise(2, 2, 400)
    spectrogram = ensemble.stft(mixture)
    features = ensemble.features(spectrogram).movedim(-1, 1).unflatten(1, (4, 4))  # of each estimate, of its estimates
    scale = torch.tensor([1.0, 1.0, 3.0, 3.0]).double()[:, None, None, None]
    if feature == "masks":
        outer = second.masks(spectrogram)[:, 0]
        expected = outer * first.masks(outer * spectrogram)[:, 1]
    else:
        estimate = first(second(mixture)[:, 0])[:, 1]
        expected = (ensemble.stft(estimate).abs() / spectrogram.abs()).clamp(max=1)
    assert torch.allclose((features / scale)[:, 2, 1], expected, atol=1e-6)


def test_it_is_as_good_as_what_fits_among_its_parts():
    sources, rate = tones_and_clicks()
    separators = [HPSS(sample_rate=rate), Repet(min_period=0.1, sample_rate=rate)]
    ensemble = EnsembleClustering(separators, weights=[1.0, 0.2], mask_type="binary", sample_rate=rate)
    estimates = sorted_by(ensemble(sources.sum(0)), sources)
    assert improvement(estimates, sources) > 10


def test_the_parts_agree_on_loop_and_voice():
    sources, rate = loop_and_voice()
    separators = [RepetSim(sample_rate=rate), FT2D(sample_rate=rate), Repet(min_period=0.3, sample_rate=rate)]
    alone = [improvement(separator(sources.sum(0)), sources) for separator in separators]
    ensemble = EnsembleClustering(separators, sample_rate=rate)
    together = improvement(sorted_by(ensemble(sources.sum(0)), sources), sources)
    assert together > sorted(alone)[0]


def test_parts_move_and_learn_with_it():
    learned = HPSS(kernel_size=5, trainable=("power",), **SMALL)
    ensemble = EnsembleClustering([learned, FT2D(**SMALL)], **SMALL)
    assert [name for name, _ in ensemble.named_parameters()] == ["separators.0.free_power"]
    ensemble(noise(2, 401))[0].square().sum().backward()
    assert learned.free_power.grad.abs() > 0


def test_it_is_built_from_names_and_configs():
    ensemble = build(
        "ensemble_clustering",
        separators=["hpss", {"name": "repet", "min_period": 0.3}],
        source_indices=[[0], [1]],
        sample_rate=16000,
    )
    assert [type(part) for part in ensemble.separators] == [HPSS, Repet]
    assert [part.sample_rate for part in ensemble.separators] == [16000, 16000]
    assert build(ensemble.config).config == ensemble.config
    nested = EnsembleClustering([ensemble, HPSS(sample_rate=16000)], num_sources=3, sample_rate=16000)
    assert build(nested.config).separators[0].source_indices == [[0], [1]]


def test_a_part_that_needs_stereo_makes_it_need_stereo():
    class Stereo(HPSS):
        channels = 2

    ensemble = EnsembleClustering([Stereo(**SMALL), HPSS(**SMALL)], **SMALL)
    with pytest.raises(ValueError, match="mixture must have 2 channels, got 1"):
        ensemble(noise(1, 401))


@pytest.mark.parametrize("other", [HPSS(sample_rate=8000), MixAsEstimate(2, sample_rate=8000)])
def test_separators_without_masks_of_its_front_end_give_estimates(other):
    mixture, separators = noise(1, 2000), [HPSS(**SMALL), other]
    expected = EnsembleClustering(separators, extracted_feature="estimates", **SMALL)(mixture)
    assert EnsembleClustering(separators, **SMALL)(mixture).equal(expected)
    masks = EnsembleClustering([HPSS(**SMALL)], extracted_feature="masks", **SMALL)(mixture)
    assert EnsembleClustering([HPSS(**SMALL)], **SMALL)(mixture).equal(masks)


def test_share_of_a_silent_mixture_is_equal():
    estimates = torch.tensor([0.0, 1.0, 2.0]).view(1, 3, 1, 1, 1)
    assert torch.allclose(clipped_ratio_masks(estimates, torch.zeros(1, 1, 1, 1)), torch.tensor(1 / 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"separators": []}, r"separators must be a list of separators, got \[\]"),
        ({"separators": HPSS(**SMALL)}, "separators must be a list of separators, got HPSS"),
        ({"separators": ["hpss"]}, "separators must be a list of separators, got .'hpss'"),
        ({"separators": [build("ideal_ratio_mask", **SMALL)]}, "require only the mixture, got ideal_ratio_mask"),
        ({"separators": [HPSS(sample_rate=44100)]}, "separators must have sample_rate=8000, got hpss with 44100"),
        (
            {"separators": [HPSS(sample_rate=8000)], "extracted_feature": "masks"},
            "separators must have the front end STFT.*, got hpss with STFT.*; or set extracted_feature='estimates'",
        ),
        (
            {"separators": [MixAsEstimate(2, sample_rate=8000)], "extracted_feature": "masks"},
            "separators must have masks, got mix_as_estimate; or set extracted_feature='estimates'",
        ),
        ({"weights": [1.0]}, r"weights must be 2 numbers, one for each separator, got \[1.0\]"),
        ({"weights": [1.0, -1.0]}, "weights must be at least 0, got -1.0"),
        ({"source_indices": [[0]]}, r"source_indices must be 2 lists, one for each separator, got \[\[0\]\]"),
        ({"source_indices": [[0], []]}, r"source_indices must be 2 lists"),
        ({"source_indices": [[0], [2]]}, "source_indices must be below 2 for ft2d, got 2"),
        ({"num_cascades": 0}, "num_cascades must be at least 1, got 0"),
        ({"extracted_feature": "mask"}, "extracted_feature must be one of masks, estimates, got 'mask'; did you"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        EnsembleClustering(**{"separators": parts(), **SMALL, **arguments})
