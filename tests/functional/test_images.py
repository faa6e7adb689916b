"""Images of single-channel estimates."""

import pytest
import torch
from scenes import noise

from torchsep.functional import source_images


def test_images_of_uncorrelated_sources_are_those_that_were_mixed():
    sources = torch.linalg.qr(noise(3, 400).mT).Q.mT
    mixing = noise(2, 3, seed=1)
    expected = mixing.mT[:, :, None] * sources[:, None]
    images = source_images(5e3 * sources[:, None], expected.sum(0))
    assert images.shape == (3, 2, 400)
    assert torch.allclose(images, expected, atol=1e-12)
    batch = source_images(sources[None, :, None].expand(4, -1, -1, -1), expected.sum(0).expand(4, 2, 400))
    assert torch.allclose(batch[2], expected, atol=1e-12)


def test_estimates_with_all_channels_are_unchanged():
    estimates = noise(2, 3, 2, 50)
    assert source_images(estimates, noise(2, 2, 50)) is estimates
    with pytest.raises(ValueError, match=r"^estimates must have 1 or 3 channels, got 2$"):
        source_images(estimates, noise(2, 3, 50))


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e30])
def test_level_of_an_estimate_does_not_matter(scale):
    estimates, mixture = noise(2, 1, 50).float(), noise(2, 50, seed=2).float()
    scaled = estimates * torch.tensor([[[scale]], [[1.0]]])
    scaled.requires_grad_()
    images = source_images(scaled, mixture)
    images.sum().backward()
    assert scaled.grad.isfinite().all() or scale == 1e-30  # its true gradient overflows
    expected = source_images(estimates, mixture) * torch.tensor([[[float(scale > 0)]], [[1.0]]])
    assert torch.allclose(images, expected, atol=1e-5)


def test_gradient():
    estimates, mixture = noise(2, 3, 1, 6), noise(2, 2, 6, seed=1)
    assert torch.autograd.gradcheck(source_images, (estimates.requires_grad_(), mixture.requires_grad_()))
