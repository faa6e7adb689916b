"""Blind NMF on a synthetic scene, and the NMF model."""

import math

import numpy as np
import pytest
import torch
from scenes import RATE, improvement, noise
from sklearn import decomposition

from torchsep.functional import component_masks
from torchsep.separators.bases.nmf_model import NMFModel
from torchsep.separators.nmf import NMF
from torchsep.transforms import STFT


def notes_and_noises():
    """Low notes, and bursts of bright noise, at changing times: sources ``(2, 1, 16000)``."""
    time = torch.arange(2 * RATE, dtype=torch.float64) / RATE
    notes, bursts = torch.zeros_like(time), torch.zeros_like(time)
    for number, hertz in enumerate((200.0, 250.0, 300.0, 250.0, 200.0, 300.0, 350.0)):
        begin = 2200 * number
        part = time[: 16000 - begin][:2000]
        notes[begin : begin + 2000] = sum(torch.sin(2 * math.pi * hertz * k * part) / k for k in (1, 2, 3))
    for number, begin in enumerate(range(700, 15000, 1700)):
        burst = noise(700, seed=number).diff() * torch.exp(-torch.arange(699) / 250)
        bursts[begin : begin + 699] = burst
    return torch.stack((notes, bursts))[:, None]


@pytest.mark.parametrize(
    "arguments",
    [{}, {"init": "nndsvd"}, {"beta_loss": "itakura_saito", "spectrum": "power"}, {"mask_type": "binary"}],
)
def test_notes_and_noises_are_separated(arguments):
    sources = notes_and_noises()
    estimates = NMF(n_components=8, sample_rate=RATE, **arguments)(sources.sum(0))
    assert max(improvement(estimates, sources), improvement(estimates.flip(0), sources)) > 7


def test_masks_are_fractions_of_the_components():
    templates, activations = noise(2, 5, 4).abs(), noise(2, 3, 4, 6, seed=1).abs()
    labels = torch.tensor([[0, 1, 2, 1], [2, 2, 0, 1]])
    masks = component_masks(templates, activations, labels, 3)
    model = torch.einsum("bfk,bckn->bkcfn", templates, activations)
    for item in range(2):
        for source in range(3):
            own = model[item][labels[item] == source].sum(0)
            assert torch.allclose(masks[item, source], own / model[item].sum(0))


def test_channels_share_templates():
    sources = notes_and_noises()
    separator = NMF(n_components=8, tol=0.0, max_iter=50, sample_rate=RATE)
    mixture = torch.cat((sources[0], sources[1]))  # one source in each channel
    model = separator.factorise(mixture)
    frames = separator.stft.num_frames(16000)
    assert model.templates.shape == (129, 8)
    assert model.activations.shape == (8, 2 * frames)
    spectrogram = separator.stft(mixture).abs()
    expected = torch.cat(tuple(spectrogram), -1) / spectrogram.mean()
    assert (model.templates @ model.activations - expected).abs().mean() < 0.5 * expected.mean()
    batch = separator.factorise(torch.stack((mixture, mixture.flip(0))))
    assert torch.allclose(batch.templates[0], model.templates, rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_sources": 1}, "num_sources must be at least 2, got 1"),
        ({"num_sources": 3, "n_components": 2}, "n_components must be at least 3, got 2"),
        ({"spectrum": "log"}, "spectrum must be one of magnitude, power, got 'log'"),
        ({"init": "svd"}, "init must be one of random, nndsvd, got 'svd'; did you mean nndsvd?"),
        ({"beta_loss": "is"}, "beta_loss must be one of"),
        ({"alpha": -0.1}, "alpha must be at least 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        NMF(**arguments, sample_rate=8000)


def spectrum():
    return STFT.from_sample_rate(RATE)(notes_and_noises()[0, 0]).abs()


def test_a_model_describes_other_data():
    matrix = spectrum()
    model = NMFModel(129, 6, seed=3).fit(matrix[:, ::2].float())
    other = 3 * matrix[:, 1::2]
    rest = (model.inverse_transform(model.transform(other)) - other).abs().sum() / other.abs().sum()
    assert rest < 0.35
    twin = NMFModel(129, 6)
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin(other), model(other))
    assert model.config == {
        "name": "nmf_model",
        "num_bins": 129,
        "n_components": 6,
        "beta_loss": "kullback_leibler",
        "l1_ratio": 0.0,
        "alpha": 0.0,
        "max_iter": 200,
        "tol": 1e-4,
        "init": "random",
        "seed": 3,
    }


def test_a_model_of_scikit_learn_is_loaded():
    matrix = spectrum()
    peer = decomposition.NMF(5, init="nndsvda", solver="cd", max_iter=300).fit(matrix.T.numpy())
    model = NMFModel(129, 5, beta_loss="frobenius", max_iter=500, tol=0.0).double().load(peer)
    assert np.array_equal(model.dictionary.detach().numpy().T, peer.components_)
    expected = peer.transform(matrix.T.numpy()) @ peer.components_
    found = model.inverse_transform(model(matrix)).detach().numpy().T
    assert np.abs(found - expected).mean() < 0.02 * expected.mean()


def test_a_model_is_a_layer():
    """Gradient descent through the updates makes the templates fit better."""
    matrix = spectrum()[:, :40].float()
    model = NMFModel(129, 4, max_iter=8, tol=0.0)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(15):
        loss = (model.inverse_transform(model(matrix)) - matrix).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert (model.dictionary >= 0).all()


@pytest.mark.parametrize(
    ("templates", "message"),
    [
        (torch.ones(4, 5), r"templates must have shape \(5, 4\), got \(4, 5\)"),
        (-torch.ones(5, 4), "templates must be finite and non-negative"),
        (torch.full((5, 4), math.nan), "templates must be finite and non-negative"),
    ],
)
def test_bad_templates_are_refused(templates, message):
    with pytest.raises(ValueError, match=message):
        NMFModel(5, 4).load(templates)


@pytest.mark.parametrize("bad", [torch.ones(4, 9), torch.zeros(5, 9), torch.full((5, 9), math.nan)])
def test_bad_data_is_refused(bad):
    with pytest.raises(ValueError, match="matrix must"):
        NMFModel(5, 4).fit(bad)
