"""Masks against their definitions."""

import itertools

import librosa
import numpy as np
import pytest
import torch
from scenes import noise

from torchsep.functional import binary_masks, clipped_ratio_mask, ratio_masks, soft_mask

POWERS = (0.3, 1.0, 2.0, 7.5)


@pytest.mark.parametrize("power", [*POWERS, 1, 2])
def test_soft_mask_is_its_definition(power):
    model, rest = noise(3, 4, 7).abs(), noise(3, 4, 7, seed=1).abs()
    expected = model**power / (model**power + rest**power)
    assert torch.allclose(soft_mask(model, rest, power), expected, rtol=0, atol=1e-15)
    assert torch.allclose(soft_mask(model.float(), rest.float(), power), expected.float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("power", [*POWERS, 1, 2])
def test_ratio_masks_are_their_definition(power):
    models = noise(2, 3, 4, 5, 6).abs()
    for dim in (-4, 1, 0, -1):
        expected = models**power / (models**power).sum(dim, keepdim=True)
        assert torch.allclose(ratio_masks(models, power, dim), expected, rtol=0, atol=1e-15), dim


def test_the_sources_are_on_the_fourth_axis_from_the_end():
    models = noise(2, 3, 4, 5, 6).abs()
    assert torch.equal(ratio_masks(models), ratio_masks(models, dim=1))
    masks = ratio_masks(models)
    assert torch.equal(binary_masks(masks), binary_masks(masks, dim=1))


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 30.0])
@pytest.mark.parametrize("level", [1e-30, 1e-20, 1.0, 1e30])
def test_the_level_plays_no_part(level, power):
    model, rest = torch.tensor([3.0, 1.0, 0.0]) * level, torch.tensor([1.0, 1.0, 2.0]) * level
    high = 3.0**power / (3.0**power + 1)
    assert torch.allclose(soft_mask(model, rest, power), torch.tensor([high, 0.5, 0.0]), rtol=0, atol=1e-6)
    shares = ratio_masks(torch.stack((model, rest)), power, dim=0)
    assert torch.allclose(shares[0], torch.tensor([high, 0.5, 0.0]), rtol=0, atol=1e-6)


def test_extremes_side_by_side():
    model, rest = torch.tensor([1e30, 1e-30, 1e30, 0.0]), torch.tensor([1e-30, 1e30, 1e30, 1e-30])
    assert soft_mask(model, rest, 8.0).tolist() == [1.0, 0.0, 0.5, 0.0]
    assert ratio_masks(torch.stack((model, rest)), 8.0, dim=0).tolist() == [[1.0, 0.0, 0.5, 0.0], [0.0, 1.0, 0.5, 1.0]]


def test_silence():
    zero = torch.zeros(2, 3)
    assert torch.equal(soft_mask(zero, zero, 2.0), torch.full((2, 3), 0.5))
    assert torch.equal(soft_mask(zero, zero, 2.0, silent=0.0), zero)
    assert torch.equal(ratio_masks(torch.zeros(5, 2, 3), dim=0), torch.full((5, 2, 3), 0.2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_masks_sum_to_one(dtype):
    models = noise(3, 5, 2, 6, 4).abs().to(dtype)
    models[0, :, 1] = 0.0
    models[1, 2:] = 0.0
    for power in POWERS:
        masks = ratio_masks(models, power)
        assert masks.min() >= 0
        assert torch.allclose(
            masks.sum(1), torch.ones(3, 2, 6, 4, dtype=dtype), rtol=0, atol=4 * torch.finfo(dtype).eps
        )
    complement = soft_mask(models[0], models[1], 1.7) + soft_mask(models[1], models[0], 1.7)
    assert torch.allclose(complement, torch.ones_like(complement), rtol=0, atol=4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("power", POWERS)
def test_gradient_is_that_of_finite_differences(power):
    model, rest = (noise(2, 3).abs() + 0.1).requires_grad_(), (noise(2, 3, seed=1).abs() + 0.1).requires_grad_()
    exponent = torch.tensor(power, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(soft_mask, (model, rest, exponent))
    assert torch.autograd.gradcheck(soft_mask, (model.detach(), rest, power))
    assert torch.autograd.gradcheck(soft_mask, (model, rest.detach(), power))
    models = (noise(2, 3, 1, 2, 2).abs() + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(ratio_masks, (models, exponent))
    assert torch.autograd.gradcheck(ratio_masks, (models.detach(), exponent))


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_gradient_at_silence_is_zero(power):
    models = torch.zeros(2, 4, requires_grad=True)
    exponent = torch.tensor(power, requires_grad=True)
    (soft_mask(models[0], models[1], exponent).sum() + ratio_masks(models, exponent, dim=0)[0].sum()).backward()
    assert models.grad.tolist() == [[0.0] * 4] * 2
    assert exponent.grad == 0


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_gradient_with_one_silent_model_is_finite(power):
    models = torch.tensor([[0.0, 2.0], [3.0, 0.0]], requires_grad=True)
    exponent = torch.tensor(power, requires_grad=True)
    (soft_mask(models[0], models[1], exponent)[0] + ratio_masks(models, exponent, dim=0)[0, 1]).backward()
    assert models.grad.isfinite().all()
    assert exponent.grad == 0


def test_the_gradient_does_not_change_the_value():
    models = noise(3, 2, 5, 7).abs()
    for power in POWERS:
        recorded = ratio_masks(models.clone().requires_grad_(), power)
        assert torch.allclose(ratio_masks(models, power), recorded, rtol=0, atol=1e-15)
        recorded = soft_mask(models[0].clone().requires_grad_(), models[1], power)
        assert torch.allclose(soft_mask(models[0], models[1], power), recorded, rtol=0, atol=1e-15)


def test_models_are_not_modified():
    models = noise(3, 2, 5, 7).abs()
    copy = models.clone()
    for power in (1.0, 2.0):
        ratio_masks(models, power)
        soft_mask(models[0], models[1], power)
        binary_masks(models)
        assert torch.equal(models, copy)


def test_models_may_broadcast():
    model, rest = noise(7).abs(), noise(5, 1).abs()
    expected = model**2 / (model**2 + rest**2)
    assert torch.allclose(soft_mask(model, rest, 2.0), expected, rtol=0, atol=1e-15)
    assert torch.allclose(soft_mask(rest, model, 2.0), 1 - expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.5])
@pytest.mark.parametrize("margin", [1.0, 1.2, 3.0])
def test_soft_mask_is_that_of_librosa(margin, power):
    model, rest = noise(6, 9).abs().numpy(), noise(6, 9, seed=1).abs().numpy()
    model[0], rest[0] = 0.0, 0.0
    model[1], rest[2] = 0.0, 0.0
    split = margin == 1.0
    expected = librosa.util.softmask(model, margin * rest, power=power, split_zeros=split)
    ours = soft_mask(torch.from_numpy(model), margin * torch.from_numpy(rest), power, silent=0.5 if split else 0.0)
    assert np.abs(ours.numpy() - expected).max() < 1e-14


def test_binary_foreground_is_above_the_threshold():
    foreground = torch.tensor([0.0, 0.3, 0.5, 0.5000001, 0.7, 1.0])
    masks = torch.stack((1 - foreground, foreground))
    assert binary_masks(masks, dim=0)[1].tolist() == [0, 0, 0, 1, 1, 1]
    assert binary_masks(masks, 0.3, dim=0)[1].tolist() == [0, 0, 1, 1, 1, 1]
    assert binary_masks(masks, 0.0, dim=0)[1].tolist() == [0, 1, 1, 1, 1, 1]
    assert binary_masks(masks, 1.0, dim=0)[1].tolist() == [0, 0, 0, 0, 0, 0]
    assert torch.equal(binary_masks(masks, 0.3, dim=0).sum(0), torch.ones(6))


def test_binary_ties_go_to_the_first():
    for values in itertools.product((0.2, 0.4), repeat=4):
        owner = binary_masks(torch.tensor(values)[:, None], dim=0)[:, 0]
        assert owner.tolist() == [float(index == values.index(max(values))) for index in range(4)]


@pytest.mark.parametrize("sources", [1, 2, 3, 5])
def test_every_bin_has_one_dominant_source(sources):
    masks = ratio_masks(noise(4, sources, 3, 6, 7).abs())
    hard = binary_masks(masks)
    assert set(hard.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(hard.sum(1), torch.ones(4, 3, 6, 7, dtype=torch.float64))
    if sources > 2:
        assert torch.equal(hard.argmax(1), masks.argmax(1))


@pytest.mark.parametrize("sources", [2, 3])
def test_gradient_of_binary_masks_is_straight_through(sources):
    masks = ratio_masks(noise(2, sources, 1, 3, 4).abs()).requires_grad_()
    hard = binary_masks(masks)
    assert torch.equal(hard, binary_masks(masks.detach()))
    weight = noise(*hard.shape, seed=3)
    (gradient,) = torch.autograd.grad(hard, masks, weight)
    assert torch.equal(gradient, weight)


def test_nan_affects_only_its_bin():
    models = noise(2, 3, 1, 4, 5).abs()
    models[1, 0, 0, 2, 3] = torch.nan
    dirty = ratio_masks(models).isnan()
    assert dirty[1, :, 0, 2, 3].all()
    assert dirty.sum() == 3


def test_clipped_ratio_mask_by_definition():
    model, observed = torch.rand(2, 5, 7, dtype=torch.float64), torch.rand(2, 5, 7, dtype=torch.float64)
    observed[0, 1, 2] = 0.0
    mask = clipped_ratio_mask(model, observed)
    expected = torch.where(observed > 0, torch.minimum(model, observed) / observed, 1.0)
    assert torch.equal(mask, expected)
    leaf = observed.clone().requires_grad_()
    clipped_ratio_mask(model, leaf).sum().backward()
    assert leaf.grad.isfinite().all()
    assert leaf.grad[0, 1, 2] == 0
