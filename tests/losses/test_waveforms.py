"""Waveform losses against their definitions, sample by sample, and undefined cases."""

import math

import pytest
import torch
from losses.waveform_losses import EVERY, LOSSES, RELATIVE, SPECTRAL, gradient, scene
from scenes import noise
from torch.autograd import gradcheck

from torchsep.losses import MultiResolutionSTFT, l1_loss, mse_loss, si_sdr_loss, snr_loss


def slow_ratio(estimate, source, *, invariant, zero_mean, clip_db):
    """Loss of one source, by loops over channels and samples."""
    rows = []
    for tensor in (estimate, source):
        rows.append([[value.item() for value in channel] for channel in tensor])
        if zero_mean:
            rows[-1] = [[value - sum(channel) / len(channel) for value in channel] for channel in rows[-1]]
    pairs = [pair for channels in zip(*rows, strict=True) for pair in zip(*channels, strict=True)]
    alpha = sum(e * s for e, s in pairs) / sum(s * s for _, s in pairs) if invariant else 1.0
    target = sum((alpha * s) ** 2 for _, s in pairs)
    error = sum((alpha * s - e) ** 2 for e, s in pairs)
    threshold = 10 ** (-clip_db / 10) if clip_db is not None else 0.0
    return 10 * math.log10((error + threshold * target) / target)


@pytest.mark.parametrize("clip_db", [None, 3.0, 30.0])
@pytest.mark.parametrize("zero_mean", [False, True])
def test_ratios_are_their_definitions(zero_mean, clip_db):
    estimates, sources = scene(2, 3)
    si_sdr = si_sdr_loss(estimates, sources, zero_mean=zero_mean, clip_db=clip_db)
    snr = snr_loss(estimates, sources, clip_db=clip_db)
    assert si_sdr.shape == snr.shape == (2, 3)
    for item in range(2):
        for source in range(3):
            pair = estimates[item, source], sources[item, source]
            expected = slow_ratio(*pair, invariant=True, zero_mean=zero_mean, clip_db=clip_db)
            assert si_sdr[item, source].item() == pytest.approx(expected)
            expected = slow_ratio(*pair, invariant=False, zero_mean=False, clip_db=clip_db)
            assert snr[item, source].item() == pytest.approx(expected)


def test_the_gradients_of_the_ratios_are_those_of_the_quotients():
    """Explicit gradient: that of log(n / d) is n'/n - d'/d."""
    estimates, sources = scene()
    threshold = 1e-2
    error, energy = estimates - sources, sources.square().sum()
    expected = 20 / math.log(10) * error / (error.square().sum() + threshold * energy)
    torch.testing.assert_close(gradient(snr_loss, estimates, sources, clip_db=20.0), expected)
    across = (estimates * sources).sum()
    target = across / energy * sources
    residual = estimates - target
    wanted, unwanted = target.square().sum(), residual.square().sum()
    toward = 2 * across / energy * sources
    above = 2 * residual + threshold * toward
    expected = 10 / math.log(10) * (above / (unwanted + threshold * wanted) - toward / wanted)
    found = gradient(si_sdr_loss, estimates, sources, clip_db=20.0, zero_mean=False)
    torch.testing.assert_close(found, expected)


def test_distances_are_their_definitions():
    estimates, sources = scene(3)
    for item in range(3):
        offsets = [(a - b).item() for a, b in zip(estimates[item].flatten(), sources[item].flatten(), strict=True)]
        assert l1_loss(estimates, sources)[item].item() == pytest.approx(sum(map(abs, offsets)) / 80)
        assert mse_loss(estimates, sources)[item].item() == pytest.approx(sum(x * x for x in offsets) / 80)
    torch.testing.assert_close(gradient(mse_loss, estimates, sources), 2 * (estimates - sources) / 80)
    torch.testing.assert_close(gradient(l1_loss, estimates, sources), (estimates - sources).sign() / 80)


def slow_magnitudes(channel, size, hop, length):
    """Magnitudes of centred frames, by the definition of the transform."""
    window = [0.5 - 0.5 * math.cos(2 * math.pi * k / length) for k in range(length)]
    left = (size - length) // 2
    samples = dict(enumerate(channel.tolist()))
    frames = []
    for start in range(0, hop * math.ceil(len(samples) / hop) + 1, hop):
        taken = [samples.get(start - size // 2 + left + k, 0.0) * window[k] for k in range(length)]
        for bin_ in range(size // 2 + 1):
            turn = -2 * math.pi * bin_ / size
            value = sum(x * complex(math.cos(turn * k), math.sin(turn * k)) for k, x in enumerate(taken))
            frames.append(abs(value))
    return frames


def test_the_spectral_loss_is_its_definition():
    estimates, sources = scene(2, samples=21)
    loss = MultiResolutionSTFT(n_ffts=(6, 8), hop_lengths=(2, 3), win_lengths=(5, 8), floor_db=20.0)
    for item in range(2):
        terms = []
        for size, hop, length in ((6, 2, 5), (8, 3, 8)):
            found, wanted = (
                [value for channel in tensor[item] for value in slow_magnitudes(channel, size, hop, length)]
                for tensor in (estimates, sources)
            )
            energy = sum(w * w for w in wanted)
            floor = energy / len(wanted) / 100
            apart = math.sqrt(sum((f - w) ** 2 for f, w in zip(found, wanted, strict=True)) / energy)
            logs = [abs(math.log((f * f + floor) / (w * w + floor))) / 2 for f, w in zip(found, wanted, strict=True)]
            terms.append(apart + sum(logs) / len(logs))
        assert loss(estimates, sources)[item].item() == pytest.approx(sum(terms) / 2)


def test_the_spectral_loss_hears_no_polarity_but_half_the_level():
    _, sources = scene()
    loss = MultiResolutionSTFT(n_ffts=(8, 32), floor_db=200.0)
    assert loss(-sources, sources).item() == pytest.approx(0.0, abs=1e-12)
    assert loss(0.5 * sources, sources).item() == pytest.approx(0.5 + math.log(2))


@EVERY
def test_gradients_are_exact(loss):
    estimates, sources = (tensor.requires_grad_() for tensor in scene(2, samples=12))
    assert gradcheck(loss, (estimates, sources))


@RELATIVE
def test_gradients_are_exact_for_silent_sources(loss):
    estimates, sources = scene(2, samples=12)
    mixture = sources.sum(0, keepdim=True)
    sources[1] = 0.0
    assert gradcheck(lambda given: loss(given, sources, mixture=mixture), estimates.requires_grad_())


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_perfect_estimate_has_a_finite_least_loss_and_no_gradient(loss, dtype):
    _, sources = (tensor.to(dtype) for tensor in scene(3))
    perfect = loss(sources, sources)
    assert perfect.isfinite().all()
    assert (perfect < loss(sources * (1 + 1e-3 * noise(3, 1, 40, seed=2)).to(dtype), sources)).all()
    # Rounding perturbs a perfect estimate; at that distance the gradient is at most that of a logarithm.
    slope = gradient(loss, sources, sources)
    assert slope.isfinite().all()
    assert slope.abs().max() <= 20 / torch.finfo(dtype).eps


@pytest.mark.parametrize("name", ["si_sdr", "snr"])
def test_what_a_perfect_estimate_scores(name):
    _, sources = scene(3)
    assert (LOSSES[name](sources.float(), sources.float()) < -130).all()
    assert (LOSSES[name](sources, sources) < -300).all()
    clipped = LOSSES[f"{name}, clipped"](sources, sources)
    torch.testing.assert_close(clipped, torch.full_like(clipped, -30.0))
    assert gradient(LOSSES[f"{name}, clipped"], sources, sources).abs().max() < 1e-9


def test_a_threshold_stops_the_pull_of_good_estimates():
    _, sources = scene()
    near, far = (sources + size * noise(2, 40, seed=3) for size in (1e-4, 1.0))
    pulls = [
        [gradient(snr_loss, estimate, sources, clip_db=clip_db).norm().item() for estimate in (near, far)]
        for clip_db in (None, 30.0)
    ]
    assert pulls[0][0] > 1000 * pulls[0][1]
    assert pulls[1][0] < pulls[1][1]


@pytest.mark.parametrize("name", ["si_sdr", "si_sdr, clipped"])
def test_the_level_of_the_estimate_is_free_where_the_name_says_so(name):
    estimates, sources = scene(4)
    torch.testing.assert_close(LOSSES[name](-1e-6 * estimates, sources), LOSSES[name](estimates, sources))


@EVERY
def test_leading_axes_may_be_any_and_items_are_alone(loss):
    estimates, sources = (tensor.float() for tensor in scene(2, 3))
    found = loss(estimates, sources)
    assert found.shape == (2, 3)
    torch.testing.assert_close(loss(estimates[1, 2], sources[1, 2]), found[1, 2])
    torch.testing.assert_close(loss(estimates.mT.contiguous().mT, sources), found)


@EVERY
def test_one_sample_is_enough(loss):
    estimates, sources = scene(2, samples=1)
    assert loss(estimates, sources).isfinite().all()
    assert gradient(loss, estimates, sources).isfinite().all()


@EVERY
def test_they_can_be_compiled(loss):
    estimates, sources = (tensor.float() for tensor in scene(2))
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(estimates, sources), loss(estimates, sources))


def test_settings_are_compared_by_value():
    assert MultiResolutionSTFT(n_ffts=(8,)) == MultiResolutionSTFT(n_ffts=(8,)) != SPECTRAL
    assert repr(SPECTRAL).startswith("MultiResolutionSTFT(n_ffts=(8, 16), hop_lengths=None")
