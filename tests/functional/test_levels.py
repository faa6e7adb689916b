"""RMS levels against their definition, with overflow and underflow."""

import math

import pytest
import torch
from scenes import noise
from torch.autograd import gradcheck

from torchsep.functional.magnitude import log_magnitude, rms


@pytest.mark.parametrize("shape", [(3, 7), (2, 2, 50), (2, 3, 4, 5, 6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_the_root_mean_square_of_each_item(shape, dtype):
    signal = noise(*shape).to(dtype)
    level = rms(signal)
    assert level.dtype == dtype
    assert level.shape == (shape[0], *[1] * (len(shape) - 1))
    for item in range(shape[0]):
        values = signal[item].flatten().tolist()
        expected = math.sqrt(sum(value**2 for value in values) / len(values))
        assert level[item].item() == pytest.approx(expected, rel=1e-6 if dtype == torch.float32 else 1e-14)


@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1e-20, 1.0, 1e20, 1e37])
def test_it_scales_with_the_signal_where_squares_do_not_fit_single_precision(scale):
    signal = noise(2, 1, 40)
    level = rms((scale * signal).float())
    assert torch.allclose(level.double(), scale * rms(signal), rtol=1e-5 if scale > 1e-40 else 0.2, atol=0)


def test_silence_has_a_level_of_one_and_no_gradient():
    signal = noise(3, 1, 20).float()
    signal[1] = 0
    signal.requires_grad_()
    level = rms(signal)
    assert level[1].item() == 1
    level.sum().backward()
    assert signal.grad.isfinite().all()
    assert not signal.grad[1].any()
    assert signal.grad[0].any()


def test_nan_affects_only_its_item():
    signal = noise(3, 1, 20)
    expected = rms(signal)
    for bad in (torch.nan, torch.inf):
        signal[1, 0, 3] = bad
        level = rms(signal)
        assert level[::2].equal(expected[::2])
        assert not level[1].isfinite()


def test_one_value_and_other_layouts():
    assert rms(torch.tensor([[-3.0]])).item() == 3
    signal = noise(5, 4, 3).permute(2, 1, 0)
    assert torch.allclose(rms(signal), rms(signal.contiguous()), rtol=1e-14)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_gradients_are_exact(scale):
    signal = noise(2, 1, 6).requires_grad_()
    assert gradcheck(lambda values: rms(scale * values) / scale, signal)
    assert gradcheck(log_magnitude, signal.detach().abs().requires_grad_())


def test_logarithms_are_their_definition_down_to_silence():
    magnitude = torch.tensor([0.0, 1e-4, 0.5, 999.999], dtype=torch.float64)
    expected = [math.log10(value + 1e-3) for value in magnitude.tolist()]
    assert log_magnitude(magnitude).tolist() == pytest.approx(expected, rel=1e-12)
    assert log_magnitude(torch.zeros(2)).tolist() == [-3, -3]
    assert log_magnitude(magnitude).diff().gt(0).all()
