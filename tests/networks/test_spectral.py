"""Spectral networks with masks, embeddings, or both."""

import copy

import pytest
import torch
from networks.overfitting import LENGTH, overfit, two_sources
from scenes import noise
from torch import nn

from torchsep.engine import ChimeraObjective, EmbeddingObjective, WaveformObjective
from torchsep.metrics import improvement, match_estimates, si_sdr
from torchsep.networks import Chimera, Embedding, MaskInference, RecurrentBody
from torchsep.separators import DeepClustering, DeepMaskEstimation
from torchsep.transforms import STFT

BINS, FRAMES = 5, 7


def body(**arguments):
    return RecurrentBody(**{"num_features": BINS, "hidden_size": 4, "num_layers": 1, "norm": "layer", **arguments})


def magnitudes(batch=3, frames=FRAMES):
    return noise(batch, 1, BINS, frames).abs()


def said_of_frames(network, magnitude):
    """What the body makes of logarithms, frame after frame: ``(B, N, H)``."""
    return network.body(torch.log10(magnitude[:, 0] + 1e-3).transpose(1, 2))


def slow_masks(network, magnitude):
    """The masks bin by bin."""
    head = network.mask_head.linear
    rows = head.weight.view(network.num_sources, BINS, -1)
    shifts = head.bias.view(network.num_sources, BINS)
    said = said_of_frames(network, magnitude)
    batch, frames = said.shape[:2]
    result = magnitude.new_empty(batch, network.num_sources, 1, BINS, frames)
    for item in range(batch):
        for frame in range(frames):
            for bin_ in range(BINS):
                values = rows[:, bin_] @ said[item, frame] + shifts[:, bin_]
                if network.mask_activation == "softmax":
                    result[item, :, 0, bin_, frame] = values.exp() / values.exp().sum()
                else:
                    result[item, :, 0, bin_, frame] = 1 / (1 + (-values).exp())
    return result


def slow_embedding(network, magnitude):
    """The vectors bin by bin."""
    head = network.embedding_head.linear
    size = network.embedding_size
    rows, shifts = head.weight.view(BINS, size, -1), head.bias.view(BINS, size)
    said = said_of_frames(network, magnitude)
    batch, frames = said.shape[:2]
    result = magnitude.new_empty(batch, 1, BINS, frames, size)
    activations = {"sigmoid": lambda values: 1 / (1 + (-values).exp()), "tanh": torch.tanh, "linear": lambda x: x}
    for item in range(batch):
        for frame in range(frames):
            for bin_ in range(BINS):
                vector = activations[network.embedding_activation](rows[bin_] @ said[item, frame] + shifts[bin_])
                result[item, 0, bin_, frame] = vector / vector.square().sum().sqrt()
    return result


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("kind", [MaskInference, Chimera])
@pytest.mark.parametrize("num_sources", [1, 3])
def test_masks_are_their_definition(kind, activation, num_sources):
    network = kind(body(), num_sources, mask_activation=activation).double()
    magnitude = magnitudes()
    masks = network(magnitude)
    assert torch.allclose(masks, slow_masks(network, magnitude), atol=1e-12)
    assert network.normalised == (activation == "softmax")
    assert torch.allclose(masks.sum(1), torch.ones(3, 1, BINS, FRAMES, dtype=torch.float64)) == network.normalised
    assert network.masks(magnitude).equal(masks)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "linear"])
@pytest.mark.parametrize("kind", [Embedding, Chimera])
def test_vectors_are_their_definition_and_of_unit_length(kind, activation):
    network = kind(body(), embedding_size=6, embedding_activation=activation).double()
    magnitude = magnitudes()
    vectors = network.embedding(magnitude)
    assert torch.allclose(vectors, slow_embedding(network, magnitude), atol=1e-12)
    assert torch.allclose(vectors.square().sum(-1), torch.ones(()).double(), atol=1e-12)
    if kind is Embedding:
        assert network(magnitude).equal(vectors)


def test_both_are_the_masks_and_the_embedding_with_one_run_of_the_body():
    network = Chimera(body(dropout=0.0), 3, 6)
    runs = []
    network.body.register_forward_hook(lambda *_: runs.append(1))
    masks, vectors = network.both(magnitudes().float())
    assert len(runs) == 1
    assert masks.equal(network(magnitudes().float()))
    assert vectors.equal(network.embedding(magnitudes().float()))


def test_gradients_of_each_head_reach_only_it_and_the_body():
    network = Chimera(body())
    masks, vectors = network.both(magnitudes().float())
    for result, own, other in (
        (masks, network.mask_head, network.embedding_head),
        (vectors, network.embedding_head, network.mask_head),
    ):
        network.zero_grad()
        (result * noise(*result.shape).float()).sum().backward(retain_graph=True)
        assert all(parameter.grad.any() for parameter in [*network.body.parameters(), *own.parameters()])
        assert all(parameter.grad is None or not parameter.grad.any() for parameter in other.parameters())


@pytest.mark.parametrize("kind", [MaskInference, Embedding, Chimera])
def test_one_frame_and_what_is_said_of_the_frames(kind):
    network = kind(body(bidirectional=False))
    assert network(magnitudes(1, 1).float()).isfinite().all()
    assert (network.latency, network.receptive_field, network.channels) == (0, None, 1)
    assert kind(body()).latency is None
    assert network.num_bins == BINS
    assert network.num_parameters == sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MaskInference(nn.Linear(2, 2)), r"^body must be a RecurrentBody, got Linear\("),
        (lambda: Embedding("lstm"), "^body must be a RecurrentBody, got 'lstm'$"),
        (lambda: MaskInference(body(), 0), "^num_sources must be at least 1, got 0$"),
        (lambda: MaskInference(body(), mask_activation="relu"), "^mask_activation must be one of softmax, sigmoid"),
        (lambda: Embedding(body(), 0), "^embedding_size must be at least 1, got 0$"),
        (lambda: Chimera(body(), embedding_activation="relu"), "^embedding_activation must be one of sigmoid, tanh"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# One mixture learned by heart, through separator and objective.

SIZES = {"num_features": 65, "hidden_size": 32, "num_layers": 1, "norm": "layer"}
OF_RATE = {"sample_rate": 8000, "stft": STFT(128, 32)}
OBJECTIVES = {
    "embedding": lambda: (DeepClustering(Embedding(RecurrentBody(**SIZES), 8), **OF_RATE), EmbeddingObjective()),
    "mask_inference": lambda: (
        DeepMaskEstimation(MaskInference(RecurrentBody(**SIZES)), **OF_RATE),
        WaveformObjective(),
    ),
    "chimera": lambda: (
        DeepMaskEstimation(Chimera(RecurrentBody(**SIZES), embedding_size=8), **OF_RATE),
        ChimeraObjective(signal=WaveformObjective()),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_mixture_by_heart(name):
    separator, objective = OBJECTIVES[name]()
    sources = two_sources()
    batch = {"mixture": sources.sum(0)[None], "sources": sources[None]}
    optimiser = torch.optim.Adam(separator.parameters(), 1e-2)
    best = -torch.inf
    for step in range(1, 301):
        loss = objective(separator, batch).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 20 == 0:
            best = max(best, gain(separator, sources))
            if best > 15:
                break
    assert best > 15


def gain(separator, sources):
    """By how many dB a copy in evaluation mode improves the mixture."""
    with torch.no_grad():
        estimates = copy.deepcopy(separator).eval()(sources.sum(0))
    estimates = match_estimates(si_sdr, estimates, sources).estimates
    return improvement(si_sdr, estimates, sources, sources.sum(0)).mean().item()


def test_there_is_something_to_learn():
    sources = two_sources()
    assert sources.shape == (2, 1, LENGTH)
    separator, _ = OBJECTIVES["embedding"]()
    assert gain(separator, sources) < 10
    assert overfit(MaskInference(RecurrentBody(**SIZES)), steps=1) < 5
