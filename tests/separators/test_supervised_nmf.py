"""Supervised NMF with dictionaries that are fitted, loaded and trained."""

import math

import pytest
import torch
from scenes import RATE, improvement, noise
from sklearn import decomposition

from torchsep import load, save
from torchsep.separators import OverlapAdd, Resampled
from torchsep.separators.supervised_nmf import SupervisedNMF

NAMES = ("notes", "hiss")


def notes(order, seconds=1.0):
    """Notes of two overtones in some order."""
    time = torch.arange(int(RATE * seconds / len(order)), dtype=torch.float64) / RATE
    return torch.cat([sum(torch.sin(2 * math.pi * hertz * k * time) for k in (1, 2, 3)) for hertz in order])[None]


def hiss(length, seed):
    """Noise that swells, of more treble than bass."""
    swell = torch.sin(torch.arange(length, dtype=torch.float64) / 900 + seed).square()
    return (noise(length + 1, seed=seed).diff() * swell)[None]


def recordings():
    """To fit on, of two lengths, and to separate."""
    isolated = [notes((220.0, 330.0, 440.0)), hiss(6000, 1)]
    sources = torch.stack((notes((440.0, 220.0, 330.0, 220.0)), hiss(8000, 2)))
    return isolated, sources


@pytest.mark.parametrize(
    ("arguments", "least"),
    [
        ({}, 12),
        ({"beta_loss": "frobenius"}, 12),
        ({"beta_loss": "itakura_saito", "spectrum": "power"}, 12),
        ({"mask_type": "binary"}, 12),
    ],
)
def test_fitted_sources_are_separated(arguments, least):
    isolated, sources = recordings()
    separator = SupervisedNMF(NAMES, n_components=6, sample_rate=RATE, **arguments).fit(isolated)
    assert (separator.dictionaries >= 0).all()
    estimates = separator(sources.sum(0)).detach()
    assert improvement(estimates, sources) > least


def test_recordings_of_several_channels_and_items_count_together():
    isolated, _ = recordings()
    separator = SupervisedNMF(NAMES, n_components=4, sample_rate=RATE)
    first = separator.fit([source.repeat(2, 1) for source in isolated]).templates.clone()
    second = separator.fit([source.expand(2, 1, -1) for source in isolated]).templates
    assert torch.equal(first, second)
    assert torch.allclose(second.sum(-2), torch.ones(2, 4))


def test_a_checkpoint_holds_what_was_fitted(tmp_path):
    isolated, sources = recordings()
    separator = SupervisedNMF(NAMES, n_components=4, sample_rate=RATE).fit(isolated)
    loaded = load(save(separator, tmp_path / "fitted"))
    assert loaded.names == NAMES
    assert torch.equal(loaded(sources.sum(0)), separator(sources.sum(0)))


def test_models_of_scikit_learn_are_loaded():
    isolated, sources = recordings()
    separator = SupervisedNMF(NAMES, n_components=5, sample_rate=RATE)
    models = [
        decomposition.NMF(5, init="nndsvda", max_iter=500).fit(separator.stft(source)[0].abs().mT.numpy())
        for source in isolated
    ]
    assert improvement(separator.load(models)(sources.sum(0)).detach(), sources) > 10


def test_dictionaries_are_learned_end_to_end():
    """From random ones, by what is separated with them."""
    _, sources = recordings()
    sources = sources[..., :4000].float()
    separator = SupervisedNMF(NAMES, n_components=4, max_iter=10, tol=0.0, sample_rate=RATE)
    optimiser = torch.optim.Adam(separator.parameters(), lr=2e-3)
    before = improvement(separator(sources.sum(0)).detach(), sources)
    for _ in range(40):
        optimiser.zero_grad()
        (separator(sources.sum(0)) - sources).square().mean().backward()
        optimiser.step()
    assert improvement(separator(sources.sum(0)).detach(), sources) > before + 6


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("notes", "names must be at least two different names, got 'notes'"),
        (("notes",), "names must be at least two different names"),
        (("notes", "notes"), "names must be at least two different names"),
        (("notes", "his/s"), "names must hold none of .*, got 'his/s'"),
        (("notes", 3), "names must be texts that are not empty, got 3"),
    ],
)
def test_bad_names_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        SupervisedNMF(names, sample_rate=RATE)


def test_bad_recordings_are_refused():
    separator = SupervisedNMF(NAMES, n_components=2, sample_rate=RATE)
    for wrong, message in (
        ([noise(1, 400)], "sources must have 2 elements, one for each name, got 1"),
        ([noise(1, 400), torch.zeros(1, 400)], "sources must be finite and not silent, got hiss"),
        ([noise(400), noise(400)], r"mixture must have shape \(B, C, T\) or \(C, T\), got \(400,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            separator.fit(wrong)
    with pytest.raises(ValueError, match=r"templates must have shape \(129, 2\), got \(129, 3\)"):
        separator.load([torch.ones(129, 3), torch.ones(129, 2)])


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16])
def test_it_knows_whether_it_is_trained(tmp_path, dtype):
    untrained = SupervisedNMF(("low", "high"), n_components=2, sample_rate=8000)
    assert not untrained.is_trained
    assert not untrained.double().is_trained
    assert not load(save(untrained.float(), tmp_path / "untrained", dtype=dtype)).is_trained
    inside = OverlapAdd(Resampled(untrained, sample_rate=16000), sample_rate=16000)
    assert not inside.is_trained
    untrained.fit(torch.sin(torch.arange(8000.0) * torch.tensor([[[0.4]], [[1.6]]])))
    assert untrained.is_trained
    assert inside.is_trained
    assert load(save(untrained, tmp_path / "trained", dtype=dtype)).is_trained
