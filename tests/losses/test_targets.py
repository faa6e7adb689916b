"""Training targets against their definitions, bin by bin."""

import math

import pytest
import torch
from scenes import noise
from torch.autograd import gradcheck

from torchsep.losses import ideal_assignments, loud_bin_weights, magnitude_target, magnitude_weights


def scene():
    """Three sources and their mixture, ``(2, 3, 2, 4, 5)`` and ``(2, 1, 2, 4, 5)``."""
    sources = torch.complex(noise(2, 3, 2, 4, 5), noise(2, 3, 2, 4, 5, seed=1))
    return sources, sources.sum(1, keepdim=True)


@pytest.mark.parametrize("kind", ["msa", "psa", "tpsa"])
def test_targets_are_their_definitions(kind):
    sources, mixture = scene()
    found = magnitude_target(sources, mixture, kind)
    assert found.shape == sources.shape
    pairs = zip(sources.flatten().tolist(), mixture.expand_as(sources).flatten().tolist(), strict=True)
    for value, (s, x) in zip(found.flatten().tolist(), pairs, strict=True):
        angle = math.atan2(s.imag, s.real) - math.atan2(x.imag, x.real)
        expected = abs(s) if kind == "msa" else abs(s) * math.cos(angle)
        assert value == pytest.approx(min(max(expected, 0.0), abs(x)) if kind == "tpsa" else expected, abs=1e-12)


def test_phase_sensitive_targets_add_up_to_the_mixture():
    sources, mixture = scene()
    torch.testing.assert_close(magnitude_target(sources, mixture, "psa").sum(1, keepdim=True), mixture.abs())


@pytest.mark.parametrize("kind", ["msa", "psa", "tpsa"])
def test_targets_of_silence_are_zero_and_gradients_exact(kind):
    sources, mixture = (tensor[:1, ..., :2].clone().requires_grad_() for tensor in scene())
    assert gradcheck(lambda s, x: magnitude_target(s, x, kind), (sources, mixture))
    silence = torch.zeros_like(sources).requires_grad_()
    target = magnitude_target(silence, silence.sum(1, keepdim=True), kind)
    target.sum().backward()
    assert target.eq(0).all()
    assert silence.grad.isfinite().all()


def test_each_bin_is_of_its_loudest_source():
    sources, _ = scene()
    sources[0, :, 0, 0, 0] = torch.tensor([2j, -2.0, 1.0])  # equal magnitudes
    sources[0, :, 0, 0, 1] = torch.tensor([0.0, -2.0, 2j])
    sources[0, :, 0, 0, 2] = 0.0
    found = ideal_assignments(sources)
    assert found.shape == (2, 2, 4, 5, 3)
    assert found.dtype == torch.float64
    assert found[0, 0, 0, :3].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    for place in torch.ones(2, 2, 4, 5).nonzero().tolist():
        b, c, f, n = place
        loudness = sources[b, :, c, f, n].abs().tolist()
        expected = [float(s == loudness.index(max(loudness)) and max(loudness) > 0) for s in range(3)]
        assert found[b, c, f, n].tolist() == expected
    assert torch.equal(ideal_assignments(sources.abs()), found)
    assert ideal_assignments(1e-3 * sources.to(torch.complex64)).dtype == torch.float32


def test_weights_are_shares_of_the_magnitudes():
    mixture = scene()[1][:, 0]
    mixture[1] = 0.0
    found = magnitude_weights(mixture)
    total = sum(abs(value) for value in mixture[0].flatten().tolist())
    expected = torch.tensor([abs(value) / total for value in mixture[0].flatten().tolist()], dtype=torch.float64)
    torch.testing.assert_close(found[0].flatten(), expected)
    assert found[1].eq(0).all()
    torch.testing.assert_close(magnitude_weights(1e-6 * mixture), found)
    torch.testing.assert_close(magnitude_weights(mixture.abs()), found)


def test_loud_bins_are_those_less_than_the_threshold_below_the_loudest():
    mixture = torch.tensor([[100.0, 1.01, 0.99, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 1e-9, 2e-9, 3e-9]]).view(3, 1, 2, 2)
    third = 1 / 3
    expected = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0] * 4, [0.0, third, third, third]]).view(3, 1, 2, 2)
    torch.testing.assert_close(loud_bin_weights(mixture), expected)
    expected[0] = torch.tensor([third, third, third, 0.0]).view(1, 2, 2)
    torch.testing.assert_close(loud_bin_weights(mixture, 41.0), expected)


@pytest.mark.parametrize("weights", [magnitude_weights, loud_bin_weights])
def test_a_bad_item_stays_alone_and_is_not_hidden(weights):
    mixture = scene()[1][:, 0]
    expected = weights(mixture)
    mixture[0, 0, 1, 2] = torch.nan
    found = weights(mixture)
    assert found[0].isnan().all()
    torch.testing.assert_close(found[1], expected[1])


def test_they_can_be_compiled():
    sources, mixture = scene()
    calls = [
        lambda: magnitude_target(sources, mixture),
        lambda: ideal_assignments(sources),
        lambda: magnitude_weights(mixture[:, 0]),
        lambda: loud_bin_weights(mixture[:, 0]),
    ]
    for call in calls:
        torch.testing.assert_close(torch.compile(call, fullgraph=True, backend="eager")(), call())


def test_what_is_refused():
    sources, mixture = scene()
    with pytest.raises(ValueError, match="kind must be one of msa, psa, tpsa, got 'ps'"):
        magnitude_target(sources, mixture, "ps")
    with pytest.raises(ValueError, match=r"must have shape \(B, S, C, F, N\), got \(3, 2, 4, 5\)"):
        ideal_assignments(sources[0])
    with pytest.raises(ValueError, match=r"must have shape \(B, C, F, N\), got \(2, 1, 2, 4, 5\)"):
        magnitude_weights(mixture)
    with pytest.raises(ValueError, match="threshold_db must be above 0, got 0"):
        loud_bin_weights(mixture[:, 0], 0)
