"""Training objectives, compared with direct formulas."""

import itertools

import pytest
import torch
from scenes import noise

from torchsep import losses
from torchsep.engine import ChimeraObjective, EmbeddingObjective, MaskObjective, Objective, WaveformObjective
from torchsep.networks import Chimera, Embedding, MaskInference, RecurrentBody
from torchsep.separators import HPSS, DeepClustering, DeepMaskEstimation, IdealRatioMask
from torchsep.transforms import STFT

STFT_OF_ALL = STFT(16, 8)
OF_RATE = {"sample_rate": 8000, "stft": STFT_OF_ALL}
LENGTH = 60


def body():
    return RecurrentBody(9, 5, 1, norm="layer")


def masks_of_two():
    return DeepMaskEstimation(MaskInference(body()), **OF_RATE).double()


def clustering():
    return DeepClustering(Embedding(body(), 3), **OF_RATE).double()


def both():
    return DeepMaskEstimation(Chimera(body(), embedding_size=3), **OF_RATE).double()


def batch(items=3):
    sources = noise(items, 2, 1, LENGTH) * torch.tensor([1.0, 30.0, 1e-3]).double().view(3, 1, 1, 1)[:items]
    return {"mixture": sources.sum(1), "sources": sources, "id": [str(item) for item in range(items)]}


def decibels(estimate, source):
    """The negative SI-SDR of one zero-mean signal."""
    estimate, source = estimate - estimate.mean(), source - source.mean()
    wanted = (estimate @ source) / (source @ source) * source
    return -10 * torch.log10((wanted @ wanted) / ((estimate - wanted) @ (estimate - wanted)))


def best_order(cost):
    """The mean over the sources of a cost of pairs, in the best order."""
    orders = itertools.permutations(range(2))
    return min(sum(cost(estimate, source) for source, estimate in enumerate(order)) / 2 for order in orders)


def slow_waveform(separator, data):
    estimates = separator(data["mixture"])
    return torch.stack(
        [
            best_order(lambda e, s, i=item: decibels(estimates[i, e, 0], data["sources"][i, s, 0]))
            for item in range(len(estimates))
        ]
    )


def slow_masks(separator, data, target="tpsa"):
    result = []
    for mixture, sources in zip(data["mixture"], data["sources"], strict=True):
        spectrogram = STFT_OF_ALL(mixture)
        magnitude = spectrogram.abs()
        level = magnitude.square().mean().sqrt()
        masks = separator.masks(spectrogram[None])[0]
        wanted = []
        for source in STFT_OF_ALL(sources):
            cosine = torch.cos(source.angle() - spectrogram.angle())
            values = source.abs() if target == "msa" else source.abs() * cosine
            wanted.append(torch.minimum(values.clamp(min=0), magnitude) if target == "tpsa" else values)
        result.append(
            best_order(lambda e, s, m=masks, h=magnitude, w=wanted, v=level: (m[e] * h / v - w[s] / v).abs().mean())
        )
    return torch.stack(result)


def slow_embedding(separator, data, features=None, weights="magnitude"):
    """Deep clustering over all pairs of bins."""
    result = []
    for item in range(len(data["mixture"])):
        spectrogram = STFT_OF_ALL(data["mixture"][item])
        given = separator.features(spectrogram[None]) if features is None else features[item : item + 1]
        points = given.flatten(0, 3)
        first, second = STFT_OF_ALL(data["sources"][item]).abs().flatten(1)
        assignments = torch.stack((first >= second, first < second), 1).double()
        loud = spectrogram.abs().flatten()
        if weights == "loud":
            loud = (loud > 0.01 * loud.max()).double()
        if weights == "none":
            loud = torch.ones_like(loud)
        weights_ = loud / loud.sum()
        distances = (points @ points.T - assignments @ assignments.T).square()
        result.append((weights_[:, None] * weights_ * distances).sum())
    return torch.stack(result)


def test_waveforms_in_the_best_order():
    separator, data = masks_of_two(), batch()
    assert torch.allclose(WaveformObjective()(separator, data), slow_waveform(separator, data), rtol=1e-9)
    l1 = WaveformObjective(losses.FixedOrder(losses.l1_loss))(separator, data)
    assert torch.allclose(l1, (separator(data["mixture"]) - data["sources"]).abs().mean((1, 2, 3)), rtol=1e-9)


def test_oracles_receive_the_sources():
    separator, data = IdealRatioMask(**OF_RATE), batch()
    expected = separator(data["mixture"], sources=data["sources"])
    found = WaveformObjective(losses.FixedOrder(losses.mse_loss))(separator, data)
    assert torch.allclose(found, (expected - data["sources"]).square().mean((1, 2, 3)), rtol=1e-9)


@pytest.mark.parametrize("target", ["msa", "psa", "tpsa"])
def test_magnitudes_are_normalised_by_the_mixture(target):
    separator, data = masks_of_two(), batch()
    found = MaskObjective(target=target)(separator, data)
    assert torch.allclose(found, slow_masks(separator, data, target), rtol=1e-9)
    assert found.shape == (3,)


def test_masks_of_classical_separators():
    separator = HPSS(margin=1.5, trainable=["margin"], kernel_size=3, **OF_RATE).double()
    data = batch()
    data["sources"] = torch.cat((data["sources"], 0.1 * data["sources"][:, :1]), 1)
    data["mixture"] = data["sources"].sum(1)
    loss = MaskObjective()(separator, data)
    assert loss.shape == (3,)
    loss.sum().backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in separator.parameters())


@pytest.mark.parametrize("weights", ["magnitude", "loud", "none"])
def test_embeddings_and_dominant_sources(weights):
    separator, data = clustering(), batch()
    found = EmbeddingObjective(weights=weights)(separator, data)
    assert torch.allclose(found, slow_embedding(separator, data, weights=weights), rtol=1e-9)


def test_whitened_kmeans():
    separator, data = clustering(), batch()
    found = EmbeddingObjective("whitened_kmeans")(separator, data)
    spectrogram = STFT_OF_ALL(data["mixture"])
    assignments = losses.ideal_assignments(STFT_OF_ALL(data["sources"]))
    weights = losses.magnitude_weights(spectrogram)
    assert found.equal(losses.whitened_kmeans_loss(separator.features(spectrogram), assignments, weights))
    assert not torch.allclose(found, EmbeddingObjective()(separator, data))


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("signal", [WaveformObjective(), MaskObjective(target="psa")])
def test_chimera_is_the_weighted_sum_of_both(weight, signal):
    separator, data = both(), batch()
    features = separator.masks_and_features(STFT_OF_ALL(data["mixture"]))[1]
    embedding = slow_embedding(separator, data, features)
    found = ChimeraObjective(weight, signal=signal)(separator, data)
    assert torch.allclose(found, weight * embedding + (1 - weight) * signal(separator, data), rtol=1e-8)


@pytest.mark.parametrize(
    ("objective", "make", "heads"),
    [
        (WaveformObjective(), both, {"mask_head"}),
        (MaskObjective(), both, {"mask_head"}),
        (EmbeddingObjective(), clustering, {"embedding_head"}),
        (ChimeraObjective(), both, {"mask_head", "embedding_head"}),
        (ChimeraObjective(signal=WaveformObjective()), both, {"mask_head", "embedding_head"}),
    ],
)
def test_gradients_reach_the_body_and_the_heads(objective, make, heads):
    separator = make()
    objective(separator, batch()).sum().backward()
    learning = {name for name, weight in separator.named_parameters() if weight.grad is not None and weight.grad.any()}
    every = {name for name, _ in separator.named_parameters()}
    assert learning == {name for name in every if name.split(".")[1] in {"body", *heads}}


@pytest.mark.parametrize(
    ("objective", "make"),
    [
        (WaveformObjective(), masks_of_two),
        (MaskObjective(), masks_of_two),
        (EmbeddingObjective(), clustering),
        (EmbeddingObjective("whitened_kmeans"), clustering),
        (ChimeraObjective(), both),
    ],
)
def test_items_are_independent_with_any_level_and_with_silence(objective, make):
    separator, data = make(), batch()
    expected = objective(separator, data)
    for item in range(3):
        part = {name: data[name][item : item + 1] for name in ("mixture", "sources")}
        assert torch.allclose(objective(separator, part), expected[item], rtol=1e-8)
    louder = {name: 100 * data[name] for name in ("mixture", "sources")}
    assert torch.allclose(objective(separator, louder), expected, rtol=1e-6)
    data["sources"][1] = 0
    data["mixture"] = data["sources"].sum(1)
    found = objective(separator, data)
    assert torch.allclose(found[::2], expected[::2], rtol=1e-8)
    assert found.isfinite().all()
    found.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in separator.parameters() if parameter.grad is not None)


@pytest.mark.parametrize(
    ("objective", "make"),
    [
        (WaveformObjective(), masks_of_two),
        (MaskObjective(), masks_of_two),
        (EmbeddingObjective(), clustering),
        (ChimeraObjective(), both),
        (ChimeraObjective(signal=WaveformObjective()), both),
    ],
)
def test_estimates_come_from_the_same_pass(objective, make):
    separator, data = make().eval(), batch()
    passes = []
    separator.network.body.register_forward_hook(lambda *_: passes.append(1))
    found, estimates = objective.with_estimates(separator, data)
    assert len(passes) == 1
    assert torch.allclose(found, objective(separator, data), rtol=1e-9)
    assert torch.allclose(estimates, separator(data["mixture"]), atol=1e-9)


def test_an_objective_without_estimates_of_its_own():
    class Energy(Objective):
        def __call__(self, separator, batch):
            return separator(batch["mixture"]).square().mean((1, 2, 3))

    separator, data = masks_of_two().eval(), batch()
    found, estimates = Energy().with_estimates(separator, data)
    assert torch.allclose(estimates, separator(data["mixture"]))
    assert torch.allclose(found, estimates.square().mean((1, 2, 3)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EmbeddingObjective("deep_clusterin"), "^loss must be one of deep_clustering, whitened_kmeans"),
        (lambda: EmbeddingObjective(weights="all"), "^weights must be one of magnitude, loud, none, got 'all'"),
        (lambda: ChimeraObjective(1.5), "^embedding_weight must be at most 1, got 1.5$"),
        (lambda: MaskObjective(target="ibm")(masks_of_two(), batch()), "^kind must be one of msa, psa, tpsa"),
        (lambda: ChimeraObjective()(masks_of_two(), batch()), "^network must give masks and an embedding, got MaskInf"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
