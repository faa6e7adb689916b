"""Linear prediction against the normal equations."""

import pytest
import torch
from scenes import noise

from torchsep.functional.ica.linear_prediction import linear_prediction_residual


@pytest.mark.parametrize("order", [1, 2, 5])
def test_it_solves_the_normal_equations(order):
    signals = noise(2, 3, 400)
    signals[..., 1:] += 0.7 * signals[..., :-1].clone()
    level = signals.square().sum(-1)
    lags = torch.stack([(signals[..., k:] * signals[..., : 400 - k]).sum(-1) for k in range(order + 1)], -1)
    mean = (lags / level[..., None]).sum(1)
    place = (torch.arange(order)[:, None] - torch.arange(order)).abs()
    matrix = mean[:, place] + 1e-3 * mean[:, :1, None] * torch.eye(order)
    coefficients = torch.linalg.solve(matrix, mean[:, 1:])
    expected = signals.clone()
    for k in range(1, order + 1):
        expected[..., k:] -= coefficients[:, k - 1, None, None] * signals[..., :-k]
    assert torch.allclose(linear_prediction_residual(signals, order), expected, atol=1e-12)


def test_predictable_part_is_removed():
    drive = noise(1, 1, 5000)
    signal = torch.zeros_like(drive)
    for time in range(5000):
        signal[..., time] = drive[..., time] + 0.9 * (signal[..., time - 1] if time else 0)
    left = linear_prediction_residual(signal, 1)
    assert (left - drive).square().mean() < 0.01 * drive.square().mean()


def test_gains_stay_as_they_are():
    signals, gains = noise(2, 500), noise(3, 2, seed=1)
    mixed = gains @ signals
    left = linear_prediction_residual(mixed[None], 4)[0]
    assert torch.linalg.matrix_rank(left, rtol=1e-9) == 2
    assert torch.allclose(gains @ torch.linalg.lstsq(gains, left).solution, left)


def test_silence_and_short_signals():
    signals = torch.zeros(2, 2, 6, dtype=torch.float64)
    signals[1, 0] = noise(6)
    left = linear_prediction_residual(signals, 10)
    assert left.isfinite().all()
    assert (left[0] == 0).all()
    assert (left[1, 1] == 0).all()
    assert torch.equal(linear_prediction_residual(signals[..., :1], 3), signals[..., :1])


def test_items_are_independent():
    signals = noise(3, 2, 100)
    signals[1, 0, 5] = torch.nan
    left = linear_prediction_residual(signals, 3)
    assert left[1].isnan().any()
    assert torch.allclose(left[2], linear_prediction_residual(signals[2:], 3)[0], rtol=1e-12)


def test_gradient():
    signals = noise(2, 2, 12).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: linear_prediction_residual(x, 3), signals)
