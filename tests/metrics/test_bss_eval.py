"""BSS Eval against its definition, written out with explicit matrices of delayed references."""

import itertools
import math

import numpy as np
import pytest
import torch
from scenes import noise

from torchsep.metrics import bss_eval_images, bss_eval_sources, bss_eval_v4

TAPS = 6


def delayed(references):
    """Columns of all delays of all channels ``(M, T)``, zero-padded at the end."""
    length = references.shape[-1] + TAPS - 1
    columns = np.zeros((length, len(references) * TAPS))
    for (row, channel), delay in itertools.product(enumerate(references), range(TAPS)):
        columns[delay : delay + len(channel), row * TAPS + delay] = channel
    return columns


def db(wanted, unwanted):
    energy = np.sum(unwanted**2)
    return 10 * np.log10(np.sum(wanted**2) / energy) if energy > 0 else math.inf


def filters(references, estimate):
    """One column for each channel of the estimate."""
    wanted = np.pad(estimate, ((0, 0), (0, TAPS - 1))).T
    return np.linalg.lstsq(delayed(references), wanted, rcond=None)[0]


def ratios(estimate, sources, number, fitted_on, of_images=True):
    """SDR, ISR, SIR and SAR of an estimate ``(C, T)`` of one of the sources ``(S, C, T)``; filters fitted elsewhere."""
    whole_estimate, whole_sources = fitted_on
    true = np.pad(sources[number], ((0, 0), (0, TAPS - 1))).T
    estimated = np.pad(estimate, ((0, 0), (0, TAPS - 1))).T
    own = delayed(sources[number]) @ filters(whole_sources[number], whole_estimate)
    every = delayed(sources.reshape(-1, sources.shape[-1])) @ filters(
        whole_sources.reshape(-1, whole_sources.shape[-1]), whole_estimate
    )
    rest = db(own, every - own), db(every, estimated - every)
    if of_images:
        return db(true, estimated - true), db(true, own - true), *rest
    return db(own, estimated - own), np.nan, *rest


def scene(count, channels, length=300, seed=0):
    """Coloured sources, and estimates with filtering, interference and noise."""
    sources = noise(count, channels, length, seed=seed).cumsum(-1) * 0.2 + noise(count, channels, length, seed=seed + 1)
    leak = 0.3 * sources.roll(1, 0).roll(2, -1)
    return sources + leak - 0.2 * sources.roll(1, -1) + 0.1 * noise(count, channels, length, seed=seed + 2), sources


@pytest.mark.parametrize(("count", "channels"), [(1, 2), (3, 1), (2, 2), (4, 3)])
def test_images_are_the_definition(count, channels):
    estimates, sources = scene(count, channels)
    found = bss_eval_images(estimates, sources, num_taps=TAPS, permute=False)
    values = estimates.numpy(), sources.numpy()
    for number in range(count):
        expected = ratios(values[0][number], values[1], number, (values[0][number], values[1]))
        for ratio, want in zip(found[:4], expected, strict=True):
            if count > 1 or want < 200:  # a single source has no interference but rounding
                assert ratio[number].item() == pytest.approx(want, abs=1e-5)
            else:
                assert ratio[number] > 200


@pytest.mark.parametrize("count", [2, 4])
def test_sources_are_the_definition(count):
    estimates, sources = scene(count, 1)
    found = bss_eval_sources(estimates, sources, num_taps=TAPS, permute=False)
    values = estimates.numpy(), sources.numpy()
    for number in range(count):
        fitted = values[0][number], values[1]
        expected = ratios(values[0][number], values[1], number, fitted, of_images=False)
        for ratio, want in zip(found[:4], expected, strict=True):
            assert ratio[number].item() == pytest.approx(want, abs=1e-5, nan_ok=True)


@pytest.mark.parametrize(("window", "hop"), [(0.1, 0.1), (0.13, 0.05), (math.inf, math.inf), (0.3, 0.1)])
def test_frames_share_the_filters_of_the_whole(window, hop):
    estimates, sources = scene(2, 2)
    found = bss_eval_v4(estimates, sources, sample_rate=1000, window=window, hop=hop, num_taps=TAPS)
    values = estimates.numpy(), sources.numpy()
    samples, step = (300, 300) if window >= 0.3 else (int(window * 1000), int(hop * 1000))
    assert found.sdr.shape == (2, 1 + (300 - samples) // step)
    for number, frame in itertools.product(range(2), range(found.sdr.shape[-1])):
        part = slice(frame * step, frame * step + samples)
        expected = ratios(values[0][number][:, part], values[1][..., part], number, (values[0][number], values[1]))
        assert [ratio[number, frame].item() for ratio in found[:4]] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_estimates_find_their_sources(order):
    estimates, sources = scene(3, 2)
    shuffled = estimates[list(order)]
    plain = bss_eval_images(estimates, sources, num_taps=TAPS, permute=False)
    found = bss_eval_images(shuffled, sources, num_taps=TAPS)
    assert torch.equal(shuffled[found.permutation], estimates)
    assert torch.allclose(found.sdr, plain.sdr)
    framed = bss_eval_v4(shuffled, sources, sample_rate=1000, window=0.1, hop=0.1, num_taps=TAPS, permute=True)
    assert torch.equal(framed.permutation, found.permutation)


def test_items_of_a_batch_do_not_see_one_another():
    pairs = [scene(2, 2, seed=seed) for seed in (0, 7, 20)]
    estimates, sources = (torch.stack(tensors) for tensors in zip(*pairs, strict=True))
    estimates[1] = estimates[1].flip(0)
    found = bss_eval_v4(estimates, sources, sample_rate=1000, window=0.1, hop=0.1, num_taps=TAPS, permute=True)
    for item in range(3):
        alone = bss_eval_v4(
            estimates[item], sources[item], sample_rate=1000, window=0.1, hop=0.1, num_taps=TAPS, permute=True
        )
        for ratio, one in zip(found, alone, strict=True):
            assert torch.allclose(ratio[item].double(), one.double(), atol=1e-6)
    assert found.permutation.tolist() == [[0, 1], [1, 0], [0, 1]]


def test_a_filtered_source_is_forgiven_but_not_as_an_image():
    sources = noise(2, 1, 400)
    filtered = sources + 0.5 * torch.nn.functional.pad(sources, (3, 0))[..., :400]
    whole = torch.nn.functional.pad(filtered, (0, 0))
    found = bss_eval_sources(whole, sources, num_taps=TAPS, permute=False)
    assert (found.sdr > 20).all()  # all but the truncated tail
    assert (bss_eval_images(whole, sources, num_taps=TAPS, permute=False).sdr < 10).all()


def test_silent_frames_have_no_ratios():
    estimates, sources = scene(2, 1)
    sources[1, :, 100:200] = 0.0
    found = bss_eval_v4(estimates, sources, sample_rate=1000, window=0.1, hop=0.1, num_taps=TAPS)
    assert found.sdr.isnan().tolist() == [[False, True, False]] * 2
    silent = bss_eval_images(estimates, torch.zeros_like(sources), num_taps=TAPS)
    assert silent.sdr.isnan().all()
    assert sorted(silent.permutation.tolist()) == [0, 1]


@pytest.mark.parametrize("permute", [False, True])
@pytest.mark.parametrize("measure", [bss_eval_sources, bss_eval_images])
def test_silent_items_are_undefined_and_isolated(measure, permute):
    estimates, sources = (tensor.repeat(6, 1, 1, 1) for tensor in scene(2, 1))
    sources[0, 0] = 0.0
    estimates[1, 1] = 0.0
    sources[2, 0, :, 7] = torch.nan
    estimates[3, 0, :, 7] = torch.inf
    sources[4, 1] = sources[4, 0]
    found = measure(estimates, sources, num_taps=TAPS, permute=permute)
    assert found.sdr[:4].isnan().all()
    assert found.sdr[4].isfinite().all()
    assert found.sar[4].isfinite().all()
    assert all(sorted(order) == [0, 1] for order in found.permutation.tolist())
    alone = measure(estimates[5], sources[5], num_taps=TAPS, permute=permute)
    for ratio, expected in zip(found, alone, strict=True):
        assert torch.allclose(ratio[5].double(), expected.double(), equal_nan=True, rtol=1e-9)


@pytest.mark.parametrize("length", [1, 2, 5, 11, 40])
def test_signals_may_be_shorter_than_the_filters(length):
    estimates, sources = scene(2, 2, length)
    found = bss_eval_images(estimates, sources, num_taps=20, permute=False)
    framed = bss_eval_v4(estimates, sources, sample_rate=10, window=0.05, hop=0.01, num_taps=20)
    energy = sources.square().sum((-2, -1)) / (estimates - sources).square().sum((-2, -1))
    assert torch.allclose(found.sdr, 10 * energy.log10())
    assert framed.sdr.shape == (2, length)
    assert not any(ratio.isnan().any() for ratio in (*found[:4], *framed[:4]))


def test_order_is_of_the_frames_that_count():
    estimates, sources = scene(3, 2)
    sources[1, :, 100:200] = 0.0
    found = bss_eval_v4(
        estimates[[2, 0, 1]], sources, sample_rate=1000, window=0.1, hop=0.1, num_taps=TAPS, permute=True
    )
    assert found.permutation.tolist() == [1, 2, 0]


def test_equal_channels_leave_the_projection_defined():
    estimates, sources = scene(2, 1)
    once = bss_eval_images(estimates, sources, num_taps=TAPS)
    twice = bss_eval_images(estimates.repeat(1, 3, 1), sources.repeat(1, 3, 1), num_taps=TAPS)
    for ratio, expected in zip(twice[:4], once[:4], strict=True):
        assert torch.allclose(ratio, expected, atol=1e-4)


def test_perfect_estimates_score_very_high():
    _, sources = scene(2, 2)
    found = bss_eval_images(sources, sources, num_taps=TAPS)
    assert (found.sdr == math.inf).all()
    assert (found.sir > 150).all()
    assert (found.sar > 150).all()


def test_gradients_are_exact():
    estimates, sources = scene(2, 1, length=60)

    def scores(estimates, sources):
        found = bss_eval_v4(estimates, sources, sample_rate=100, window=0.3, hop=0.3, num_taps=3)
        return torch.stack(found[:4])

    tensors = estimates.clone().requires_grad_(), sources.clone().requires_grad_()
    assert torch.autograd.gradcheck(scores, tensors, fast_mode=True)


def test_long_signals_are_worked_on_in_blocks():
    estimates, sources = scene(2, 1, length=40000)
    found = bss_eval_images(estimates, sources, num_taps=TAPS, permute=False)
    values = estimates.numpy(), sources.numpy()
    expected = ratios(values[0][0], values[1], 0, (values[0][0], values[1]))
    assert [ratio[0].item() for ratio in found[:4]] == pytest.approx(expected, abs=1e-5)


def test_single_precision_is_computed_in_double():
    estimates, sources = scene(2, 2)
    found = bss_eval_images(estimates.float(), sources.float(), num_taps=TAPS)
    expected = bss_eval_images(estimates, sources, num_taps=TAPS)
    assert torch.allclose(found.sdr, expected.sdr.to(found.sdr.dtype), atol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e, s: bss_eval_images(e[:1], s), r"estimates must have the shape of sources, \(2, 2, 300\), got \(1, "),
        (lambda e, s: bss_eval_images(e[0], s[0]), r"sources must have shape \(..., S, C, T\), got \(2, 300\)"),
        (bss_eval_sources, "sources must have one channel, got 2; use bss_eval_images"),
        (lambda e, s: bss_eval_images(e, s, num_taps=0), "num_taps must be at least 1, got 0"),
        (lambda e, s: bss_eval_v4(e, s, sample_rate=0), "sample_rate must be at least 1, got 0"),
        (lambda e, s: bss_eval_v4(e, s, sample_rate=8, window=0), "window must be above 0, got 0"),
        (lambda e, s: bss_eval_v4(e, s, sample_rate=8, hop=-1.0), "hop must be above 0, got -1.0"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(*scene(2, 2))
