"""Losses of waveforms against their definitions, sample by sample, and where those have no value."""

import math
from functools import partial

import pytest
import torch
from scenes import noise
from torch.autograd import gradcheck

from torchsep.losses import MultiResolutionSTFT, l1_loss, mse_loss, si_sdr_loss, snr_loss

SPECTRAL = MultiResolutionSTFT(n_ffts=(8, 16))
LOSSES = {
    "si_sdr": si_sdr_loss,
    "si_sdr, clipped": partial(si_sdr_loss, clip_db=30.0),
    "si_sdr, with its mean": partial(si_sdr_loss, zero_mean=False),
    "snr": snr_loss,
    "snr, clipped": partial(snr_loss, clip_db=30.0),
    "l1": l1_loss,
    "mse": mse_loss,
    "stft": SPECTRAL,
}
EVERY = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
IN_DB = ["si_sdr", "si_sdr, clipped", "si_sdr, with its mean", "snr", "snr, clipped"]
RELATIVE = pytest.mark.parametrize("loss", [LOSSES[name] for name in [*IN_DB, "stft"]], ids=[*IN_DB, "stft"])


def scene(*leading, channels=2, samples=40):
    sources = noise(*leading, channels, samples) + 0.2
    return 0.7 * sources + 0.4 * noise(*leading, channels, samples, seed=1), sources


def gradient(loss, estimates, *others, **given):
    estimates = estimates.detach().clone().requires_grad_()
    loss(estimates, *others, **given).sum().backward()
    return estimates.grad


def slow_ratio(estimate, source, *, invariant, zero_mean, clip_db):
    """Of one source, by loops over its channels and samples."""
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
    """Written out: of log(n / d) it is n'/n - d'/d."""
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
    """Of frames around every hop, by the definition of the transform."""
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
    # Rounding alone moves a perfect estimate: at its distance the steepest gradient is that of a logarithm.
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


@EVERY
def test_silence_is_defined(loss):
    estimates, sources = scene(2)
    silence = torch.zeros_like(sources)
    for pair in ((silence, sources), (estimates, silence), (silence, silence)):
        assert loss(*pair).isfinite().all()
        assert gradient(loss, *pair).isfinite().all()
    assert gradient(loss, silence, silence).eq(0).all()


@RELATIVE
def test_without_a_mixture_a_silent_source_counts_for_nothing(loss):
    estimates, sources = scene(2)
    sources[1] = 0.0
    expected = loss(estimates[:1], sources[:1])
    found = loss(estimates, sources)
    assert found[1] == 0
    torch.testing.assert_close(found[:1], expected)
    assert gradient(loss, estimates, sources)[1].eq(0).all()
    assert loss(estimates, sources, mixture=torch.zeros(1, 2, 40, dtype=torch.float64))[1] == 0


@pytest.mark.parametrize("clip_db", [None, 30.0])
def test_a_silent_source_is_measured_against_the_mixture(clip_db):
    estimates, _ = scene(3)
    mixture = noise(1, 2, 40, seed=5)
    threshold = 0.0 if clip_db is None else 1e-3
    ratio = estimates.square().sum((1, 2)) / mixture.square().sum()
    found = snr_loss(estimates, torch.zeros_like(estimates), mixture=mixture, clip_db=clip_db)
    torch.testing.assert_close(found, 10 * torch.log10(ratio + threshold))
    flat = partial(si_sdr_loss, zero_mean=False)
    torch.testing.assert_close(flat(estimates, 0 * estimates, mixture=mixture, clip_db=clip_db), found)


def test_an_offset_of_the_mixture_plays_no_part_where_the_mean_is_taken_off():
    estimates, sources = scene(1)
    mixture = noise(1, 2, 40, seed=5)
    expected = si_sdr_loss(estimates, 0 * sources, mixture=mixture)
    torch.testing.assert_close(si_sdr_loss(estimates, 0 * sources, mixture=mixture + 1), expected)


@RELATIVE
@pytest.mark.parametrize("level", [1e-18, 1e-20, 1e-22])
def test_what_squares_to_nothing_is_silent(loss, level):
    """A gradient would be infinite, or NaN at the perfect estimate."""
    estimates, sources = (level * tensor.float() for tensor in scene(2))
    estimates[1] = sources[1]
    assert loss(estimates, sources).isfinite().all()
    assert gradient(loss, estimates, sources).isfinite().all()


@RELATIVE
def test_less_in_a_silent_source_is_better(loss):
    estimates, sources = scene(1)
    mixture = noise(1, 2, 40, seed=5)
    levels = [loss(gain * estimates, 0 * sources, mixture=mixture).item() for gain in (1.0, 0.1, 0.01, 0.0)]
    assert sorted(levels, reverse=True) == levels
    assert len(set(levels)) == 4
    pull = gradient(loss, 0.1 * estimates, 0 * sources, mixture=mixture)
    assert (pull * estimates).sum() > 0


@RELATIVE
def test_the_mixture_plays_no_part_for_other_sources(loss):
    estimates, sources = scene(3)
    torch.testing.assert_close(loss(estimates, sources, mixture=noise(1, 2, 40)), loss(estimates, sources))


@RELATIVE
@pytest.mark.parametrize("gain", [1e-3, 1e3, 1e-8])
def test_the_level_of_everything_plays_no_part(loss, gain):
    estimates, sources = (tensor.float() for tensor in scene(4))
    mixture = sources.sum(0, keepdim=True)
    sources[0] = 0.0
    scaled = loss(gain * estimates, gain * sources, mixture=gain * mixture)
    torch.testing.assert_close(scaled, loss(estimates, sources, mixture=mixture), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["si_sdr", "si_sdr, clipped"])
def test_the_level_of_the_estimate_is_free_where_the_name_says_so(name):
    estimates, sources = scene(4)
    torch.testing.assert_close(LOSSES[name](-1e-6 * estimates, sources), LOSSES[name](estimates, sources))


@EVERY
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_bad_item_stays_alone(loss, bad):
    estimates, sources = scene(3)
    expected, slope = loss(estimates, sources), gradient(loss, estimates, sources)
    estimates[1, 0, 5] = bad
    found = loss(estimates, sources)
    assert not found[1].isfinite()
    torch.testing.assert_close(found[[0, 2]], expected[[0, 2]])
    torch.testing.assert_close(gradient(loss, estimates, sources)[[0, 2]], slope[[0, 2]])


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
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(loss, half):
    estimates, sources = (tensor.to(half) for tensor in scene(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(estimates, sources.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(estimates.float(), sources.float()))
    assert loss(estimates, sources).dtype == torch.float32
    assert loss(estimates.double(), sources.double()).dtype == torch.float64


@EVERY
def test_they_can_be_compiled(loss):
    estimates, sources = (tensor.float() for tensor in scene(2))
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(estimates, sources), loss(estimates, sources))


@EVERY
def test_what_is_refused(loss):
    with pytest.raises(ValueError, match=r"estimates must have the shape of sources, \(2, 9\), got \(1, 9\)"):
        loss(torch.ones(1, 9), torch.ones(2, 9))
    with pytest.raises(ValueError, match=r"estimates must have at least 2 axes, got shape \(9,\)"):
        loss(torch.ones(9), torch.ones(9))
    with pytest.raises(ValueError, match=r"sources must be floating point, got torch.int16"):
        loss(torch.ones(1, 9), torch.ones(1, 9, dtype=torch.int16))


def test_which_settings_are_refused():
    pair = torch.ones(1, 9), torch.ones(1, 9)
    for loss in (snr_loss, si_sdr_loss):
        with pytest.raises(ValueError, match="clip_db must be at least 0, got -1"):
            loss(*pair, clip_db=-1)
    with pytest.raises(ValueError, match="n_ffts must hold at least one length, got none"):
        MultiResolutionSTFT(n_ffts=())
    with pytest.raises(ValueError, match=r"hop_lengths must hold one number for each of 2 n_ffts, got \(3,\)"):
        MultiResolutionSTFT(n_ffts=(8, 16), hop_lengths=(3,))
    with pytest.raises(ValueError, match="win_length must be at most n_fft=8, got 9"):
        MultiResolutionSTFT(n_ffts=(8,), win_lengths=(9,))
    with pytest.raises(ValueError, match="floor_db must be above 0, got 0"):
        MultiResolutionSTFT(floor_db=0)


def test_settings_are_compared_by_value():
    assert MultiResolutionSTFT(n_ffts=(8,)) == MultiResolutionSTFT(n_ffts=(8,)) != SPECTRAL
    assert repr(SPECTRAL).startswith("MultiResolutionSTFT(n_ffts=(8, 16), hop_lengths=None")
