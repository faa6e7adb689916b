"""Waveform losses of silence, of any level, in half precision and for invalid input."""

from functools import partial

import pytest
import torch
from losses.waveform_losses import EVERY, RELATIVE, gradient, scene
from scenes import noise

from torchsep.losses import MultiResolutionSTFT, si_sdr_loss, snr_loss


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
    """Without a floor, the gradient would be infinite or NaN at the perfect estimate."""
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
