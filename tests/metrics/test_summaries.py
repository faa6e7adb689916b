"""Improvements and medians."""

import numpy as np
import pytest
import torch
from scenes import noise

from torchsep.metrics import frame_median, improvement, sa_sdr, sd_sdr, si_sar, si_sdr, si_sir, snr


@pytest.mark.parametrize("metric", [sa_sdr, sd_sdr, si_sar, si_sdr, si_sir, snr])
def test_improvement_is_over_the_mixture_as_every_estimate(metric):
    sources, hiss = noise(4, 3, 2, 100), 0.1 * noise(4, 3, 2, 100, seed=1)
    mixture = (sources + 0.1 * noise(4, 3, 2, 100, seed=2)).sum(1)
    found = improvement(metric, sources + hiss, sources, mixture)
    every = torch.stack([mixture] * 3, 1)
    assert torch.allclose(found, metric(sources + hiss, sources) - metric(every, sources))
    assert torch.equal(improvement(metric, every, sources, mixture), torch.zeros_like(found))


def test_mixtures_have_the_shape_of_a_source():
    sources = noise(4, 3, 2, 100)
    with pytest.raises(ValueError, match=r"mixture must have the shape of one source, \(4, 2, 100\), got \(4, 1, 100"):
        improvement(snr, sources, sources, sources.sum(1)[:, :1])


@pytest.mark.parametrize("frames", [1, 2, 5, 8])
def test_medians_leave_out_what_is_undefined(frames):
    ratios = noise(7, 3, frames).masked_fill(noise(7, 3, frames, seed=1) > 0.5, torch.nan)
    ratios[..., 0] = 1.0
    assert np.allclose(frame_median(ratios), np.nanmedian(ratios, -1))


def test_medians_of_nothing_are_undefined_and_infinity_is_a_value():
    nan, inf = torch.nan, torch.inf
    ratios = torch.tensor([[nan, nan, nan], [inf, nan, inf], [-inf, 1.0, inf]])
    assert frame_median(ratios).nan_to_num(nan=-7.0, posinf=1e9).tolist() == [-7.0, 1e9, 1.0]
    assert frame_median(torch.empty(2, 0)).isnan().all()
