"""The base class of clustering separators, with a minimal subclass."""

import json

import pytest
import torch
from scenes import improvement, noise, si_sdr
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.mixture import GaussianMixture

from torchsep.functional import fit_gaussian_mixture, kmeans, minibatch_kmeans, responsibilities, soft_assignment
from torchsep.functional.clustering.confidence import CONFIDENCES
from torchsep.separators import ClusteringSeparator
from torchsep.transforms import STFT

SMALL = {"sample_rate": 8000, "stft": STFT(64, 16)}


class Panning(ClusteringSeparator):
    """Cluster bins by how much of their magnitude is in each channel."""

    def features(self, spectrogram):
        level = spectrogram.abs()
        total = level.sum(1, keepdim=True)
        return (level / total.masked_fill(total == 0, 1.0)).movedim(1, -1)[:, None]


def panned_tones(count, seconds=1.0):
    """Tone clusters that never meet, each from a place of its own: sources ``(count, 2, T)``."""
    time = torch.arange(int(8000 * seconds), dtype=torch.float64) / 8000
    places = torch.linspace(0.05, 0.95, count, dtype=torch.float64)
    pitches = 300.0 + 3300 * torch.arange(count, dtype=torch.float64) / count
    tones = [
        torch.sin(2 * torch.pi * hertz * time + hertz) + torch.sin(2 * torch.pi * (hertz + 170) * time)
        for hertz in pitches
    ]
    stereo = [torch.stack((place * tone, (1 - place) * tone)) for place, tone in zip(places, tones, strict=True)]
    return torch.stack(stereo)


def best_order(estimates, sources):
    """The estimates, each moved to the source that it is nearest to."""
    scores = torch.stack([si_sdr(estimates, source).mean(-1) for source in sources])
    order = scores.argmax(1)
    assert len(set(order.tolist())) == len(sources), "two sources have one estimate"
    return estimates[order]


@pytest.mark.parametrize("clustering_type", ["kmeans", "minibatch_kmeans", "gaussian_mixture"])
@pytest.mark.parametrize("count", [2, 5])
def test_clusters_are_sources(clustering_type, count):
    sources = panned_tones(count)
    separator = Panning(count, clustering_type=clustering_type, mask_type="binary", sample_rate=8000)
    estimates = separator(sources.sum(0))
    assert improvement(best_order(estimates, sources), sources) > 20


def test_all_covariances_separate():
    sources = panned_tones(2)
    for covariance_type in ("full", "tied", "diag", "spherical"):
        separator = Panning(2, clustering_type="gaussian_mixture", covariance_type=covariance_type, sample_rate=8000)
        assert improvement(best_order(separator(sources.sum(0)), sources), sources) > 15


def test_beta_sets_how_hard_masks_are():
    spectrogram = STFT(64, 16)(noise(2, 2, 800))
    even, soft, hard = (Panning(3, beta=beta, **SMALL).masks(spectrogram) for beta in (0.0, 5.0, 1e4))
    assert torch.allclose(even, torch.full_like(even, 1 / 3))
    assert (soft.amax(1) < 0.99).all()
    assert (hard.amax(1) > 0.99).float().mean() > 0.99
    assert torch.equal(soft.argmax(1), hard.argmax(1))


def test_only_loud_bins_are_clustered():
    sources = panned_tones(2)
    hiss = 1e-3 * noise(1, 8000).expand(2, -1) * torch.tensor([[1.0], [0.0]])  # quiet, from far left, in most bins
    mixture = sources.sum(0) + hiss
    separator = Panning(2, percentile=95.0, beta=50.0, sample_rate=8000)
    estimates = best_order(separator(mixture), sources)
    assert improvement(estimates, sources) > 20


def test_the_seed_is_the_same_for_all_items():
    mixture = noise(1, 2, 800)
    first, second = (Panning(4, seed=seed, **SMALL)(mixture.expand(2, -1, -1)) for seed in (0, 1))
    assert torch.equal(first[0], first[1])
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("kind", [KMeans, MiniBatchKMeans, GaussianMixture])
def test_a_fitted_scikit_learn_model_is_used(kind):
    sources = panned_tones(3)
    stft = STFT.from_sample_rate(8000)
    spectrogram = stft(sources.sum(0)[None])
    features = Panning(3, sample_rate=8000).features(spectrogram).flatten(0, 3)
    loud = spectrogram.abs().sum(1).flatten() > 5.0
    count = "n_components" if kind is GaussianMixture else "n_clusters"
    fitted = kind(**{count: 3}, random_state=0).fit(features[loud].numpy())
    name = {KMeans: "kmeans", MiniBatchKMeans: "minibatch_kmeans", GaussianMixture: "gaussian_mixture"}[kind]
    separator = Panning(3, clustering_type=name, fit_clusterer=False, init=fitted, sample_rate=8000)
    owners = separator.masks(spectrogram)[0, :, 0].argmax(0).flatten()
    assert (owners[loud].numpy() == fitted.predict(features[loud].numpy())).all()
    if kind is GaussianMixture:
        posterior = torch.from_numpy(fitted.predict_proba(features.numpy()))
        assert torch.allclose(separator.masks(spectrogram)[0, :, 0].flatten(1).mT, posterior, atol=1e-9)


def test_given_centres_are_used_or_begun_from():
    mixture = noise(1, 2, 800)
    centres = [[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]]
    held = Panning(3, fit_clusterer=False, init=centres, **SMALL)
    features = held.features(held.stft(mixture))
    distance = (features[..., None, :] - torch.tensor(centres).double()).norm(dim=-1)
    expected = torch.softmax(-5 * distance, -1).movedim(-1, 1)
    assert torch.allclose(held.masks(held.stft(mixture)), expected)
    fitted = Panning(3, init=torch.tensor(centres), **SMALL)
    order = fitted.masks(fitted.stft(mixture)).argmax(1)
    assert (order == expected.argmax(1)).double().mean() > 0.7  # clusters keep the order of what they began from


def test_silence_and_few_loud_bins_are_defined():
    mixture = torch.zeros(3, 2, 800)
    mixture[1] = noise(2, 800)
    mixture[2, :, 300] = 1.0
    for clustering_type in ("kmeans", "minibatch_kmeans", "gaussian_mixture"):
        separator = Panning(6, clustering_type=clustering_type, percentile=99.9, **SMALL)
        masks = separator.masks(separator.stft(mixture))
        assert masks.isfinite().all()
        assert torch.allclose(masks.sum(1), torch.ones_like(masks[:, 0]), atol=1e-5)
        assert (separator(mixture)[0] == 0).all()


@pytest.mark.parametrize("approach", CONFIDENCES)
def test_confidence_of_panned_sources_exceeds_that_of_noise(approach):
    clear = panned_tones(2).sum(0)
    mixture = torch.stack((clear, noise(2, clear.shape[-1])))
    for clustering_type in ("kmeans", "gaussian_mixture"):
        separator = Panning(2, clustering_type=clustering_type, beta=20.0, sample_rate=8000)
        found = separator.confidence(mixture, approach)
        assert found.shape == (2,)
        assert found[0] > found[1]
        assert torch.allclose(separator.confidence(clear, approach), found[0], atol=1e-6)


def test_confidence_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match=r"approach must be one of silhouette, .*, got 'silhouete'; did you mean"):
        Panning(**SMALL).confidence(noise(2, 800), "silhouete")
    with pytest.raises(ValueError, match=r"threshold must be at most 100, got 101"):
        Panning(**SMALL).confidence(noise(2, 800), threshold=101)
    with pytest.raises(ValueError, match=r"mixture must have shape \(B, C, T\) or \(C, T\), got \(800,\)"):
        Panning(**SMALL).confidence(noise(800))


FULL = {"weights": [0.5, 0.5], "means": [[0.0, 1.0], [1.0, 0.0]], "covariances": [[[1.0, 0.0], [0.0, 1.0]]] * 2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_sources": 1}, "num_sources must be at least 2, got 1"),
        ({"clustering_type": "KMeans"}, "clustering_type must be one of kmeans, .* did you mean kmeans"),
        ({"percentile": 101}, "percentile must be below 100, got 101"),
        ({"beta": -1.0}, "beta must be at least 0, got -1.0"),
        ({"covariance_type": "round"}, "covariance_type must be one of full, tied, diag, spherical, got 'round'"),
        ({"fit_clusterer": False}, "init must be given where fit_clusterer is False, got None"),
        ({"init": [[0.0, 1.0]]}, r"init must be finite, of shape \(2, D\), got shape \(1, 2\)"),
        ({"init": [[0.0, 1.0], [float("nan"), 0.0]]}, r"init must be finite, of shape \(2, D\)"),
        ({"init": "loud"}, "init must be numbers, got 'loud'"),
        ({"clusterer": 3}, "clusterer must be a mapping of options or None, got 3"),
        (
            {"clusterer": {"n_inits": 3}},
            "clusterer must have options of kmeans, .*, got 'n_inits'; did you mean n_init",
        ),
        ({"clusterer": {"n_init": 0}}, "clusterer.n_init must be at least 1, got 0"),
        ({"clusterer": {"max_iter": 1.5}}, "clusterer.max_iter must be an integer, got 1.5"),
        ({"clusterer": {"tol": -1.0}}, "clusterer.tol must be at least 0, got -1.0"),
        (
            {"clustering_type": "gaussian_mixture", "clusterer": {"reg_covar": 0.0}},
            "clusterer.reg_covar must be above 0, got 0.0",
        ),
        (
            {"fit_clusterer": False, "init": [[0.0], [1.0]], "clusterer": {"tol": 0.1}},
            "clusterer must be omitted where fit_clusterer is False, got {'tol': 0.1}",
        ),
        (
            {"init": [[0.0], [1.0]], "clusterer": {"n_init": 3}},
            "clusterer.n_init must be 1 where init is given, got 3",
        ),
        ({"clustering_type": "gaussian_mixture", "init": [[0.0], [1.0]]}, "init must be a mapping of weights, means"),
        ({"clustering_type": "gaussian_mixture", "init": {"means": 1}}, "init must be a mapping of .*, got means"),
        (
            {"clustering_type": "gaussian_mixture", "covariance_type": "diag", "init": FULL},
            r"covariances of init must be finite, of shape \(2, 2\), got shape \(2, 2, 2\)",
        ),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Panning(**arguments, **SMALL)


def test_centres_must_be_of_the_features():
    with pytest.raises(ValueError, match="init must have 2 features, equal to those of the bins, got 3"):
        Panning(init=torch.rand(2, 3), **SMALL)(noise(2, 800))


def test_a_fitted_mixture_must_be_of_the_covariances():
    fitted = GaussianMixture(2, covariance_type="diag").fit(noise(50, 2).numpy())
    with pytest.raises(ValueError, match="init must have full covariances, got diag"):
        Panning(2, clustering_type="gaussian_mixture", init=fitted, **SMALL)


OPTIONS = {
    "kmeans": [{"n_init": 4}, {"max_iter": 1}, {"tol": 10.0}],
    "minibatch_kmeans": [{"n_init": 4}, {"max_iter": 1}, {"tol": 10.0}, {"batch_size": 8}],
    "gaussian_mixture": [{"n_init": 4}, {"max_iter": 1}, {"tol": 10.0}, {"reg_covar": 0.5}],
}


@pytest.mark.parametrize("clustering_type", OPTIONS)
def test_options_reach_the_clusterer(clustering_type):
    spectrogram = STFT(64, 16)(noise(2, 2, 800))
    given = {"clustering_type": clustering_type, "percentile": 0.0, "seed": 3, **SMALL}
    usual = Panning(9, **given)
    points = usual.features(spectrogram).flatten(1, 3)
    weights = torch.ones_like(points[..., 0])
    for options in OPTIONS[clustering_type]:
        separator = Panning(9, clusterer=options, **given)
        if clustering_type == "gaussian_mixture":
            assigned = responsibilities(points, fit_gaussian_mixture(points, 9, weights=weights, seed=3, **options))
        else:
            fit = {"kmeans": kmeans, "minibatch_kmeans": minibatch_kmeans}[clustering_type]
            assigned = soft_assignment(points, fit(points, 9, weights=weights, seed=3, **options).centres, 5.0)
        masks = separator.masks(spectrogram)
        assert torch.allclose(masks.flatten(2).mT, assigned, atol=1e-9)
        assert not torch.allclose(masks, usual.masks(spectrogram), atol=1e-3)
        assert json.loads(json.dumps(separator.config))["clusterer"] == options


def test_options_are_those_of_the_clusterer_only():
    for clustering_type, tried in OPTIONS.items():
        for name in {name for options in OPTIONS.values() for option in options for name in option}:
            known = any(name in option for option in tried)
            if known:
                Panning(clustering_type=clustering_type, clusterer={name: 1}, **SMALL)
                continue
            with pytest.raises(ValueError, match=f"clusterer must have options of {clustering_type}, .*, got '{name}'"):
                Panning(clustering_type=clustering_type, clusterer={name: 1}, **SMALL)


def test_options_are_copied():
    options = {"n_init": 2}
    separator = Panning(clusterer=options, **SMALL)
    options["n_init"] = "many"
    assert separator.clusterer == {"n_init": 2}
    assert Panning(clusterer={}, **SMALL).clusterer == {}


@pytest.mark.parametrize("mask_type", ["soft", "binary"])
def test_given_features_are_used(mask_type):
    mixture = noise(2, 2, 800)
    separator = Panning(3, mask_type=mask_type, **SMALL)
    features = separator.features(separator.stft(mixture))
    expected = separator(mixture)
    assert torch.allclose(separator.separate_features(mixture, features), expected, atol=1e-12)
    assert torch.allclose(separator.separate_features(mixture[1], features[1]), expected[1], atol=1e-12)
    each = features.expand(-1, 2, -1, -1, -1)
    assert separator.separate_features(mixture, each).shape == (2, 3, 2, 800)
    low = (torch.arange(33) < 9).double().view(1, 1, 33, 1, 1).expand(2, 1, 33, features.shape[3], 1)
    halves = Panning(2, mask_type=mask_type, beta=100.0, **SMALL).separate_features(mixture, low)
    filtered = separator.stft.inverse(separator.stft(mixture) * low[..., 0], 800)
    assert (halves - filtered[:, None]).abs().amax((2, 3)).amin(1).max() < 1e-9
    single = separator.separate_features(mixture.half(), features)
    assert single.dtype == torch.float16


def test_wrong_features_are_refused():
    separator, mixture = Panning(**SMALL), noise(2, 2, 800)
    features = separator.features(separator.stft(mixture))
    for wrong in (
        features[0],
        features[:1],
        features[:, :, 1:],
        features[..., 1:, :],
        features.expand(2, 3, 33, -1, 2),
    ):
        with pytest.raises(
            ValueError, match=r"features must have shape \(2, 2, 33, 51, D\), or one channel for all, got"
        ):
            separator.separate_features(mixture, wrong)
    with pytest.raises(TypeError, match="features must be a tensor, got list"):
        separator.separate_features(mixture, features.tolist())
    with pytest.raises(ValueError, match="mixture must have shape"):
        separator.separate_features(mixture[0, 0], features)
