"""Blockwise processing equals processing at once."""

import pytest
import torch

from torchsep.functional import (
    _chunks,
    binary_masks,
    complementary_masks,
    magnitude,
    ratio_masks,
    soft_mask,
    stack_masks,
)
from torchsep.functional._chunks import BlockSize, map_frames


@pytest.fixture(params=[False, True], ids=["frames_last", "bins_last"])
def models(request):
    values = torch.rand(2, 3, 2, 5, 41)
    values[..., 7] = 0.0
    return values.mT.contiguous().mT if request.param else values


@pytest.fixture
def tiny_parts(monkeypatch):
    def use(size):
        monkeypatch.setattr(_chunks, "_BLOCK", BlockSize(size, size))

    return use


@pytest.mark.parametrize("size", [1, 60, 130, 10**6])
@pytest.mark.parametrize(
    "compute",
    [
        lambda models: ratio_masks(models, power=2.0),
        lambda models: soft_mask(models[:, 0], models[:, 1], power=2.0),
        binary_masks,
        lambda models: binary_masks(models[:, :2], threshold=0.3),
    ],
)
def test_parts_do_not_show(models, tiny_parts, compute, size):
    whole = compute(models)
    tiny_parts(size)
    assert torch.equal(compute(models), whole)
    assert torch.equal(compute(models.clone().requires_grad_()).detach(), whole)


def test_each_part_is_small(tiny_parts):
    tiny_parts(20)
    seen = []

    def double(x):
        seen.append(x.numel())
        return 2 * x

    values = torch.rand(2, 3, 17)
    assert torch.equal(map_frames(double, values), 2 * values)
    assert max(seen) <= 20
    assert sum(seen) == values.numel()


def test_layout_is_kept(models, tiny_parts):
    tiny_parts(30)
    assert map_frames(torch.neg, models).stride() == models.stride()


def test_masks_are_stacked_as_spectrograms_lie():
    masks = [torch.rand(2, 1, 5, 7) for _ in range(3)]
    stacked = stack_masks(masks)
    assert torch.equal(stacked, torch.stack(masks, dim=1))
    assert stacked.mT.is_contiguous()
    pair = complementary_masks(masks[0])
    assert torch.equal(pair[:, 0], masks[0])
    assert torch.equal(pair[:, 1], 1 - masks[0])


def test_magnitude_is_the_absolute_value():
    values = torch.randn(2, 5, 7, dtype=torch.complex64) * torch.logspace(-15, 15, 7)
    assert torch.allclose(magnitude(values), values.abs(), rtol=1e-6, atol=0)
    assert torch.equal(magnitude(torch.zeros(3, 4, dtype=torch.complex64)), torch.zeros(3, 4))


def test_gradient_of_magnitude_is_zero_at_zero():
    values = torch.tensor([[0.0, 3.0 + 4.0j]], requires_grad=True)
    magnitude(values).sum().backward()
    assert torch.allclose(values.grad, torch.tensor([[0.0, 0.6 + 0.8j]]))
