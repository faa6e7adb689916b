"""Magnitude losses against their definitions, bin by bin."""

import math

import pytest
import torch
from scenes import noise
from torch.autograd import gradcheck

from torchsep.losses import kl_loss, magnitude_l1_loss, magnitude_mse_loss

EVERY = pytest.mark.parametrize("loss", [kl_loss, magnitude_l1_loss, magnitude_mse_loss])


def scene(*leading):
    return noise(*leading, 2, 4, 3).abs(), noise(*leading, 2, 4, 3, seed=1).abs()


def gradient(loss, estimates, targets):
    estimates = estimates.detach().clone().requires_grad_()
    loss(estimates, targets).sum().backward()
    return estimates.grad


def test_they_are_their_definitions():
    estimates, targets = scene(2, 3)
    found = {loss: loss(estimates, targets) for loss in (kl_loss, magnitude_l1_loss, magnitude_mse_loss)}
    for item in range(2):
        for source in range(3):
            pairs = list(
                zip(estimates[item, source].flatten().tolist(), targets[item, source].flatten().tolist(), strict=True)
            )
            divergence = sum(v * math.log(v / e) - v + e for e, v in pairs) / 24
            assert found[kl_loss][item, source].item() == pytest.approx(divergence)
            distance = sum(abs(e - v) for e, v in pairs) / 24
            assert found[magnitude_l1_loss][item, source].item() == pytest.approx(distance)
            square = sum((e - v) ** 2 for e, v in pairs) / 24
            assert found[magnitude_mse_loss][item, source].item() == pytest.approx(square)


def test_the_gradients_are_their_definitions():
    estimates, targets = scene(2)
    torch.testing.assert_close(gradient(kl_loss, estimates, targets), (1 - targets / estimates) / 24)
    offset = estimates - targets
    torch.testing.assert_close(gradient(magnitude_l1_loss, estimates, targets), offset.sign() / 24)
    torch.testing.assert_close(gradient(magnitude_mse_loss, estimates, targets), 2 * offset / 24)


@EVERY
def test_gradients_are_exact(loss):
    estimates, targets = scene(2)
    assert gradcheck(loss, (estimates.requires_grad_(), targets.requires_grad_()))


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zeros_are_defined(loss, dtype):
    estimates, targets = (tensor.to(dtype) for tensor in scene(2))
    zeros = torch.zeros_like(targets)
    some = targets * (torch.arange(3) > 0)
    for pair in ((zeros, targets), (estimates, zeros), (zeros, zeros), (estimates, some), (some, targets)):
        assert loss(*pair).isfinite().all()
        assert gradient(loss, *pair).isfinite().all()
    assert loss(targets, targets).abs().max() < 1e-6
    assert gradient(loss, some, some).abs().max() < 1e-6
    assert gradient(magnitude_l1_loss, zeros, zeros).eq(0).all()


def test_the_divergence_from_a_silent_target_is_the_estimate():
    estimates, targets = scene(2)
    torch.testing.assert_close(kl_loss(estimates, 0 * targets), estimates.mean((1, 2, 3)))
    torch.testing.assert_close(gradient(kl_loss, estimates, 0 * targets), torch.full_like(estimates, 1 / 24))


def test_an_estimate_of_zero_is_pulled_up():
    estimates, targets = scene(1)
    estimates[..., 0] = 0.0
    assert (gradient(kl_loss, estimates, targets)[..., 0] < 0).all()


@pytest.mark.parametrize("gain", [1e-3, 1e3])
def test_how_they_grow_with_the_level(gain):
    estimates, targets = (tensor.float() for tensor in scene(3))
    estimates[0, 0, 0] = targets[1] = 0.0
    for loss, growth in ((kl_loss, gain), (magnitude_l1_loss, gain), (magnitude_mse_loss, gain**2)):
        scaled = loss(gain * estimates, gain * targets)
        torch.testing.assert_close(scaled, growth * loss(estimates, targets), rtol=1e-4, atol=0)


@EVERY
def test_a_bad_item_stays_alone(loss):
    estimates, targets = scene(3)
    expected, slope = loss(estimates, targets), gradient(loss, estimates, targets)
    estimates[1, 0, 2, 1] = torch.nan
    found = loss(estimates, targets)
    assert found[1].isnan()
    torch.testing.assert_close(found[[0, 2]], expected[[0, 2]])
    torch.testing.assert_close(gradient(loss, estimates, targets)[[0, 2]], slope[[0, 2]])


@EVERY
def test_half_precision_is_computed_in_single(loss):
    estimates, targets = (tensor.bfloat16() for tensor in scene(2))
    found = loss(estimates, targets)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(estimates.float(), targets.float()))


@EVERY
def test_one_bin_other_layouts_and_the_compiler(loss):
    estimates, targets = scene(2, 2)
    one = torch.ones(1, 1, 1)
    assert loss(2 * one, one).item() == pytest.approx({kl_loss: 1 - math.log(2)}.get(loss, 1.0))
    found = loss(estimates, targets)
    torch.testing.assert_close(loss(estimates.mT.contiguous().mT, targets), found)
    torch.testing.assert_close(loss(estimates[1, 1], targets[1, 1]), found[1, 1])
    torch.testing.assert_close(torch.compile(loss, fullgraph=True, backend="eager")(estimates, targets), found)


@EVERY
def test_what_is_refused(loss):
    with pytest.raises(ValueError, match=r"estimates must have the shape of targets, \(2, 9, 1\), got \(2, 9, 2\)"):
        loss(torch.ones(2, 9, 2), torch.ones(2, 9, 1))
    with pytest.raises(ValueError, match=r"estimates must have at least 3 axes, got shape \(9, 2\)"):
        loss(torch.ones(9, 2), torch.ones(9, 2))
