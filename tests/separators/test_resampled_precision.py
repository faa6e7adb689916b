"""Resampling around a network under autocast."""

import pytest
import torch
from scenes import noise

from torchsep import Separator, metrics
from torchsep.functional import resample
from torchsep.separators import Resampled


class Pass(Separator):
    """The mixture, in whatever precision autocast allows."""

    names = ("all",)
    autocast = True

    def separate(self, mixture, **required):
        return mixture[:, None]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_only_the_network_runs_in_half_precision(dtype):
    separator = Resampled(Pass(sample_rate=8000), sample_rate=16000)
    mixture = separator(noise(1, 2, 8000).float())[:, 0]  # band-limited
    expected = separator(mixture)
    with torch.autocast("cpu", dtype=dtype):
        found = separator(mixture)
    assert found.dtype == torch.float32
    assert metrics.snr(found, expected).min() > 100


def test_gradient_of_resampling_under_autocast():
    waveform = noise(400).float().requires_grad_()
    (expected,) = torch.autograd.grad(resample(waveform, 3, 2).square().sum(), waveform)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (found,) = torch.autograd.grad(resample(waveform, 3, 2).square().sum(), waveform)
    assert torch.allclose(found, expected, atol=1e-5)
