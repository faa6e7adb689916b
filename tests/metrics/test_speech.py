"""PESQ and STOI, if their packages are installed."""

import importlib.util

import pytest
import torch
from scenes import noise

import torchsep.metrics

RATE = 8000
PACKAGES = {"PESQ": "pesq", "STOI": "pystoi"}


def made(name, **options):
    pytest.importorskip(PACKAGES[name])
    return getattr(torchsep.metrics, name)(**{"sample_rate": RATE, **options})


def scene():
    """Noise bursts, similar to syllables."""
    time = torch.arange(RATE, dtype=torch.float64) / RATE
    sources = noise(2, 2, 1, RATE) * (torch.sin(2 * torch.pi * 3 * time) + 1.1)
    return sources + 0.5 * noise(2, 2, 1, RATE, seed=1), sources


@pytest.mark.parametrize("name", PACKAGES)
def test_values_are_those_of_the_package(name):
    estimates, sources = scene()
    metric = made(name)
    metric.update(estimates, sources)
    pairs = zip(estimates.flatten(0, 2).numpy(), sources.flatten(0, 2).numpy(), strict=True)
    if name == "PESQ":
        import pesq

        values = [pesq.pesq(RATE, source, estimate, "nb") for estimate, source in pairs]
    else:
        import pystoi

        values = [pystoi.stoi(source, estimate, RATE) for estimate, source in pairs]
    assert metric.compute().item() == pytest.approx(sum(values) / 4, abs=1e-5)


@pytest.mark.parametrize("name", PACKAGES)
def test_what_cannot_be_judged_is_left_out(name):
    estimates, sources = scene()
    metric = made(name)
    metric.update(estimates, sources)
    expected = metric.compute()
    for length in (1, 100, 1000):
        metric.update(estimates[..., :length], sources[..., :length])
    metric.update(torch.zeros_like(estimates), sources)
    metric.update(estimates, torch.zeros_like(sources))
    metric.update(torch.full_like(estimates, torch.nan), sources)
    assert metric.left_out == 6 * 4
    assert metric.compute() == expected


@pytest.mark.parametrize("name", PACKAGES)
def test_estimates_are_assigned(name):
    estimates, sources = scene()
    plain, permuted = made(name), made(name, permute=True)
    plain.update(estimates, sources)
    permuted.update(estimates.flip(1), sources)
    assert torch.equal(plain.compute(), permuted.compute())


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_package_is_named(name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(
        ImportError, match=rf"{name} needs the package {PACKAGES[name]}: pip install 'torchsep\[speech]'"
    ):
        getattr(torchsep.metrics, name)(sample_rate=RATE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "xx"}, "mode must be one of nb, wb, got 'xx'"),
        ({"sample_rate": 44100}, "sample_rate must be 8000 or 16000, got 44100"),
        ({"sample_rate": 8000, "mode": "wb"}, "sample_rate must be 16000 in mode wb, got 8000"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        made("PESQ", **options)
