"""The ratios against their definitions and torchmetrics."""

import math

import numpy as np
import pytest
import torch
from scenes import noise
from torchmetrics.functional.audio import (
    scale_invariant_signal_distortion_ratio,
    signal_noise_ratio,
    source_aggregated_signal_distortion_ratio,
)

from torchsep.metrics import sa_sdr, sd_sdr, si_sar, si_sdr, si_sir, snr

ALL = [sa_sdr, sd_sdr, si_sar, si_sdr, si_sir, snr]


def scene(dtype=torch.float64):
    sources = noise(4, 3, 2, 500) + 0.3
    estimates = 1.3 * sources + 0.2 * sources.roll(1, 1) + 0.1 * noise(4, 3, 2, 500, seed=1)
    return estimates.to(dtype), sources.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("zero_mean", [False, True])
def test_they_are_those_of_torchmetrics(zero_mean, dtype):
    estimates, sources = scene(dtype)
    expected = scale_invariant_signal_distortion_ratio(estimates, sources, zero_mean=zero_mean)
    assert torch.allclose(si_sdr(estimates, sources, zero_mean=zero_mean), expected, atol=1e-4)
    expected = signal_noise_ratio(estimates, sources, zero_mean=zero_mean)
    assert torch.allclose(snr(estimates, sources, zero_mean=zero_mean), expected, atol=1e-4)
    flat = estimates.flatten(1, 2), sources.flatten(1, 2)
    expected = source_aggregated_signal_distortion_ratio(*flat, zero_mean=zero_mean, scale_invariant=False)
    assert torch.allclose(sa_sdr(estimates, sources, zero_mean=zero_mean), expected, atol=1e-4)


def test_they_are_their_definitions():
    estimates, sources = scene()
    e, s = (
        tensor[1, :, 1].numpy() - tensor[1, :, 1].numpy().mean(-1, keepdims=True) for tensor in (estimates, sources)
    )
    for number in range(3):
        target = (e[number] @ s[number]) / (s[number] @ s[number]) * s[number]
        every = s.T @ np.linalg.lstsq(s.T, e[number], rcond=None)[0]

        def db(unwanted, target=target):
            return 10 * math.log10(np.sum(target**2) / np.sum(unwanted**2))

        assert si_sdr(estimates, sources)[1, number, 1].item() == pytest.approx(db(e[number] - target))
        assert sd_sdr(estimates, sources)[1, number, 1].item() == pytest.approx(db(e[number] - s[number]))
        assert si_sir(estimates, sources)[1, number, 1].item() == pytest.approx(db(every - target))
        assert si_sar(estimates, sources)[1, number, 1].item() == pytest.approx(db(e[number] - every))


def test_the_parts_of_the_distortion_add_up():
    estimates, sources = scene()
    parts = 10 ** (-si_sir(estimates, sources) / 10) + 10 ** (-si_sar(estimates, sources) / 10)
    assert torch.allclose(10 ** (-si_sdr(estimates, sources) / 10), parts)


@pytest.mark.parametrize("ratio", [si_sdr, si_sir, si_sar])
@pytest.mark.parametrize("gain", [1e-4, 3.0, 1e4])
def test_scale_invariance_of_the_scale_invariant_ratios(ratio, gain):
    estimates, sources = scene()
    assert torch.allclose(ratio(gain * estimates, sources), ratio(estimates, sources))
    assert torch.allclose(ratio(estimates, gain * sources), ratio(estimates, sources))
    assert not torch.allclose(sd_sdr(gain * estimates, sources), sd_sdr(estimates, sources))


@pytest.mark.parametrize("ratio", ALL)
def test_silence_and_perfection_are_defined(ratio):
    estimates, sources = scene()
    assert ratio(sources, sources).min() > 280
    assert ratio(sources.float(), sources.float()).min() > 110
    assert ratio(estimates, torch.zeros_like(sources)).isnan().all()
    silent = ratio(torch.zeros_like(estimates), sources)
    assert silent.isfinite().all()
    assert (silent <= 1e-6).all()


@pytest.mark.parametrize(
    ("ratio", "expected"), [(si_sdr, 0), (snr, 0), (sa_sdr, 0), (si_sir, 0), (si_sar, 0), (sd_sdr, -313)]
)
def test_silent_estimates_have_the_documented_value(ratio, expected):
    _, sources = scene()
    found = ratio(torch.zeros_like(sources), sources)
    assert torch.allclose(found, torch.full_like(found, expected), atol=0.5 if expected else 1e-9)


@pytest.mark.parametrize("ratio", ALL)
def test_undefined_items_are_isolated(ratio):
    estimates, sources = scene()
    expected = ratio(estimates, sources)
    sources[0] = 0.0
    estimates[1, ..., 9] = torch.nan
    found = ratio(estimates, sources)
    assert found[:2].isnan().all()
    assert torch.allclose(found[2:], expected[2:])


def test_one_sample_has_a_ratio_unless_its_mean_is_taken_off():
    estimates, sources = (tensor[..., :1] for tensor in scene())
    assert snr(estimates, sources).isfinite().all()
    assert sa_sdr(estimates, sources).isfinite().all()
    for ratio in (si_sdr, sd_sdr, si_sir, si_sar):
        assert ratio(estimates, sources).isnan().all()


@pytest.mark.parametrize("ratio", ALL)
def test_gradients_are_exact_and_finite_at_perfection(ratio):
    estimates, sources = (tensor[:2, :2, :, :40].clone().requires_grad_() for tensor in scene())
    assert torch.autograd.gradcheck(ratio, (estimates, sources), fast_mode=True)
    perfect = sources.detach().clone().requires_grad_()
    ratio(perfect, sources.detach()).sum().backward()
    assert perfect.grad.isfinite().all()


def test_two_sources_that_are_one_leave_interference_defined():
    estimates, sources = scene()
    same = sources.clone()
    same[:, 1] = same[:, 0]
    assert si_sir(estimates, same).isfinite().all()
    assert si_sar(estimates, same).isfinite().all()


def test_shapes_must_agree():
    with pytest.raises(
        ValueError, match=r"estimates must have the shape of sources, \(4, 3, 2, 500\), got \(3, 2, 500\)"
    ):
        si_sdr(scene()[0][0], scene()[1])


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("level", "length"), [(1e-3, 16000), (1.0, 100), (0.3, 400_000)])
def test_storage_in_half_precision_does_not_matter(metric, dtype, level, length):
    sources = (level * noise(2, 1, length)).to(dtype)
    estimates = (0.7 * sources.double() + 0.1 * level * noise(2, 1, length, seed=1)).to(dtype)
    found, expected = metric(estimates, sources), metric(estimates.double(), sources.double())
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), expected, atol=0.05)


@pytest.mark.parametrize("level", [0.1, 0.3, 0.7, 1e-39, -3e4])
@pytest.mark.parametrize("length", [1000, 16001, 44100])
def test_a_constant_is_silent_where_the_mean_is_subtracted(level, length):
    constant, other = torch.full((length,), level), noise(length).float()
    for metric in (si_sdr, sd_sdr):
        assert metric(other, constant).isnan()
    assert si_sdr(constant, other) == pytest.approx(0.0, abs=0.01)
    pair = torch.stack((constant, other))[:, None]
    assert si_sir(pair, pair)[0].isnan()


@pytest.mark.parametrize("metric", ALL)
def test_integers_are_refused(metric):
    with pytest.raises(ValueError, match=r"^estimates must be floating point, got torch.int16$"):
        metric(torch.ones(2, 1, 8, dtype=torch.int16), torch.ones(2, 1, 8, dtype=torch.int16))
