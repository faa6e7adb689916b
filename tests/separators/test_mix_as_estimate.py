"""The mixture as estimate."""

import pytest
import torch
from scenes import noise

from torchsep.separators import MixAsEstimate


@pytest.mark.parametrize("sources", [1, 2, 5])
def test_every_source_is_a_share_of_the_mixture(sources):
    mixture = noise(4, 3, 21)
    estimates = MixAsEstimate(sources, sample_rate=8000)(mixture)
    assert estimates.shape == (4, sources, 3, 21)
    for estimate in estimates.unbind(1):
        assert torch.equal(estimate, mixture / sources)
    assert torch.allclose(estimates.sum(1), mixture, rtol=0, atol=1e-14)


def test_scale_is_the_gain_of_each_estimate():
    mixture = noise(2, 3, 21)
    separator = MixAsEstimate(3, scale=1.0, sample_rate=8000)
    assert torch.equal(separator(mixture), mixture[:, None].expand(2, 3, 3, 21))
    assert not separator.conservative
    assert MixAsEstimate(4, scale=0.25, sample_rate=8000).conservative
    with pytest.raises(ValueError, match=r"^scale must be above 0, got 0"):
        MixAsEstimate(2, scale=0.0, sample_rate=8000)


def test_estimates_share_no_memory():
    mixture = noise(2, 3, 21)
    before = mixture.clone()
    for sources in (1, 3):
        estimates = MixAsEstimate(sources, sample_rate=8000)(mixture)
        estimates[:, 0].zero_()
        assert torch.equal(mixture, before)
        assert torch.equal(estimates[:, 1:], (mixture / sources)[:, None].expand(2, sources - 1, 3, 21))


def test_names_count_from_one():
    assert MixAsEstimate(3, sample_rate=8000).names == ("source_1", "source_2", "source_3")


def test_gradient_is_that_of_finite_differences():
    assert torch.autograd.gradcheck(MixAsEstimate(3, sample_rate=8000), noise(2, 1, 5).requires_grad_())


@pytest.mark.parametrize(
    ("num_sources", "message"),
    [
        (0, "num_sources must be at least 1, got 0"),
        (2.0, r"num_sources must be an integer, got 2\.0"),
        (None, "num_sources must be an integer, got None"),
        (True, "num_sources must be an integer, got True"),
    ],
)
def test_errors_name_the_argument(num_sources, message):
    with pytest.raises(ValueError, match=message):
        MixAsEstimate(num_sources, sample_rate=8000)
