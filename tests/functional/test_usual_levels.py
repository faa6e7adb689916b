"""The gain that brings items of extreme levels to a usual one."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scenes import noise

from torchsep import build
from torchsep.functional._levels import INAUDIBLE, apply_gain, usual_level_gain, without_inaudible

LIMITS = {torch.float32: (-149, 127, -24), torch.float64: (-1074, 1023, -55)}


@given(st.sampled_from(list(LIMITS)), st.data())
def test_it_is_a_power_of_two_that_brings_any_peak_to_a_usual_level(dtype, data):
    lowest, highest, least = LIMITS[dtype]
    exponent = data.draw(st.integers(lowest, highest))
    peak = torch.tensor([2.0**exponent], dtype=torch.float64).to(dtype)
    gain, scaled = usual_level_gain([peak[:, None]])
    assert torch.equal(scaled, peak * gain)
    assert gain.frexp().mantissa.item() == 0.5
    assert gain.item() * gain.reciprocal().item() == 1.0
    if -16 <= exponent <= 16:
        assert gain.item() == 1.0
    else:
        assert 2.0**least <= scaled.item() <= 2.0**8


def test_it_is_one_for_silence_and_items_that_are_not_finite_and_uses_all_tensors():
    first = torch.tensor([[0.0, 0.0], [torch.nan, 1e30], [1e30, -torch.inf], [1e-30, 0.0]])
    gain, _ = usual_level_gain([first])
    assert gain.tolist()[:3] == [1.0, 1.0, 1.0]
    assert gain.tolist()[3] > 1e20
    second = torch.tensor([[0.0], [0.0], [0.0], [-1.0]])
    assert usual_level_gain([first, second])[0].tolist() == [1.0] * 4


def test_gains_that_cancel_leave_the_gradient_unchanged():
    signal = (1e-38 * noise(3, 2, 50)).float().requires_grad_()
    gain = torch.tensor([2.0**100, 1.0, 2.0**126])
    scaled = apply_gain(signal, gain, keep_gradient=True)
    assert torch.equal(scaled, signal.detach() * gain[:, None, None])
    assert torch.equal(torch.autograd.grad(scaled.sum(), signal)[0], torch.ones_like(signal))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
def test_values_far_below_the_peak_of_their_item_are_zero_with_the_gradient_of_the_identity(dtype):
    factors = torch.tensor([1.0, 1.01 * INAUDIBLE, 0.99 * INAUDIBLE, 0.0, torch.nan, -torch.inf]).to(dtype)
    peak = torch.tensor([1.0, 3.0])
    signal = peak[:, None] * factors
    expected = signal.clone()
    expected[:, 2] = 0.0
    assert torch.equal(without_inaudible(signal, peak).nan_to_num(5.0), expected.nan_to_num(5.0))
    recorded = without_inaudible(signal[:, :4].clone().requires_grad_(), peak)
    assert torch.equal(recorded.detach(), expected[:, :4])
    leaf = signal[:, :4].clone().requires_grad_()
    assert torch.equal(torch.autograd.grad(without_inaudible(leaf, peak).real.sum(), leaf)[0], torch.ones_like(leaf))


@pytest.mark.parametrize(("level", "tolerance"), [(1e-310, 1e-6), (1e-150, 1e-12), (1e150, 1e-12), (1e300, 1e-12)])
def test_double_precision_has_no_limit_of_single_precision(level, tolerance):
    mixture, sources = noise(2, 2, 3000), noise(2, 3, 2, 3000, seed=1)
    separator = build("wiener_filter", sample_rate=8000)
    expected = separator(mixture, estimates=sources)
    estimates = separator(level * mixture, estimates=level * sources)
    assert torch.allclose(estimates / level, expected, rtol=0, atol=tolerance)  # denormal numbers have fewer digits
