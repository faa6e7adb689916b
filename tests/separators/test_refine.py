"""Refinement: equality to the composition of two separators."""

import pytest
import torch
from scenes import noise, tones_and_clicks

from torchsep import Separator, build, load, register, save
from torchsep.registry import _REGISTERED
from torchsep.separators import HPSS, IdealRatioMask, MixAsEstimate
from torchsep.separators.refine import Refine
from torchsep.separators.wiener_filter import WienerFilter
from torchsep.transforms import STFT

FRONT = {"sample_rate": 8000, "stft": STFT(64, 16)}


class Network(Separator):
    """Two weighted copies, with something to learn."""

    names = ("first", "second")
    channels = 2
    autocast = True

    def __init__(self, *, sample_rate):
        super().__init__(sample_rate=sample_rate)
        self.layer = torch.nn.Conv1d(2, 4, 5, padding=2)

    def separate(self, mixture, **required):
        return self.layer(mixture).unflatten(1, (2, 2))


class Keep(Separator):
    """Return the estimates as they are."""

    requires = ("estimates",)
    conservative = False

    def separate(self, mixture, **required):
        return required["estimates"]


@pytest.fixture
def known():
    """The classes of this file, and those that it tests, in the registry."""
    kinds = {"network": Network, "refine": Refine, "wiener_filter": WienerFilter}
    added = [name for name in kinds if name not in _REGISTERED]
    for kind in kinds.values():
        register(kind)
    yield
    for name in added:
        del _REGISTERED[name]


def test_it_is_one_after_the_other():
    mixture = noise(3, 2, 400)
    first, second = HPSS(**FRONT, kernel_size=5), WienerFilter(2, **FRONT)
    separator = Refine(first, second, sample_rate=8000)
    assert torch.equal(separator(mixture), second(mixture, estimates=first(mixture)))
    assert torch.equal(separator(mixture[0]), separator(mixture)[0])
    assert separator.names == ("harmonic", "percussive")
    assert separator.requires == ()
    assert separator.channels is None


def test_what_the_separator_requires_is_passed_on():
    mixture, sources = noise(3, 2, 400), noise(3, 4, 2, 400, seed=1)
    first, second = IdealRatioMask(**FRONT), WienerFilter(**FRONT)
    separator = Refine(first, second, sample_rate=8000)
    expected = second(mixture, estimates=first(mixture, sources=sources))
    assert separator.requires == ("sources",)
    assert torch.equal(separator(mixture, sources=sources), expected)
    with pytest.raises(ValueError, match="must be given sources"):
        separator(mixture)
    again = Refine(second, second, sample_rate=8000)
    assert again.requires == ("estimates",)
    expected = second(mixture, estimates=second(mixture, estimates=sources))
    assert torch.equal(again(mixture, estimates=sources), expected)


def test_its_promises_are_those_of_its_parts():
    network, wiener, keep = Network(sample_rate=8000), WienerFilter(**FRONT), Keep(sample_rate=8000)
    first = Refine(network, wiener, sample_rate=8000)
    assert first.channels == 2
    assert first.conservative
    assert first.autocast
    assert not Refine(MixAsEstimate(num_sources=2, sample_rate=8000), keep, sample_rate=8000).conservative
    assert not Refine(HPSS(**FRONT), wiener, sample_rate=8000).autocast
    network.differentiable = False
    assert not Refine(network, wiener, sample_rate=8000).differentiable
    mixture = noise(1, 2, 9).float()
    assert torch.equal(Refine(network, keep, sample_rate=8000)(mixture), network(mixture))


def test_a_network_runs_under_autocast_and_the_filter_does_not():
    network, seen = Network(sample_rate=8000), []
    network.layer.register_forward_hook(lambda layer, given, result: seen.append(result.dtype))
    separator = Refine(network, WienerFilter(**FRONT), sample_rate=8000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        estimates = separator(noise(1, 2, 400).float())
    assert seen == [torch.bfloat16]
    assert estimates.dtype == torch.float32
    assert torch.allclose(estimates.sum(1), noise(1, 2, 400).float(), rtol=0, atol=1e-5)


def test_a_network_learns_through_the_filter():
    mono, rate = tones_and_clicks()
    sources = (mono * torch.tensor([[1.0, 0.3], [0.4, 1.0]])[:, :, None])[None, ..., :4000].float()
    separator = Refine(Network(sample_rate=rate), WienerFilter(sample_rate=rate), sample_rate=rate)
    optimizer = torch.optim.Adam(separator.parameters(), lr=0.03)
    losses = []
    for _ in range(15):
        loss = (separator(sources.sum(1)) - sources).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_it_is_built_from_names(known, tmp_path):
    config = {"name": "refine", "separator": "network", "refiner": {"name": "wiener_filter", "num_iterations": 2}}
    separator = build(config, sample_rate=8000)
    assert isinstance(separator, Refine)
    assert separator.refiner.num_iterations == 2
    assert set(separator.state_dict()) == {"separator.layer.weight", "separator.layer.bias"}
    twin = load(save(separator, tmp_path / "refined"))
    mixture = noise(2, 2, 300).float()
    assert torch.equal(twin(mixture), separator(mixture))
    nested = build({"name": "refine", "separator": config, "refiner": "wiener_filter"}, sample_rate=8000)
    assert nested(mixture).shape == (2, 2, 2, 300)


def test_bad_parts_are_refused():
    hpss, wiener = HPSS(sample_rate=8000), WienerFilter(sample_rate=8000)
    with pytest.raises(ValueError, match="refiner must require estimates, got hpss, requiring nothing"):
        Refine(hpss, hpss, sample_rate=8000)
    with pytest.raises(ValueError, match="got ideal_ratio_mask, requiring sources"):
        Refine(hpss, IdealRatioMask(sample_rate=8000), sample_rate=8000)
    with pytest.raises(ValueError, match="separator must be a separator, got 'hpss'"):
        Refine("hpss", wiener, sample_rate=8000)
    with pytest.raises(ValueError, match="refiner must have sample_rate=8000, got 16000"):
        Refine(hpss, WienerFilter(sample_rate=16000), sample_rate=8000)
    with pytest.raises(ValueError, match="separator must have sample_rate=16000, got 8000"):
        Refine(hpss, wiener, sample_rate=16000)
    mono = Keep(sample_rate=8000)
    mono.channels = 1
    with pytest.raises(ValueError, match="refiner must take 2 channels, got 1"):
        Refine(Network(sample_rate=8000), mono, sample_rate=8000)
