"""Loss wrappers of silence, of non-finite items, in half precision and for invalid input."""

import pytest
import torch
from losses.wrapped_losses import ANY, PAIRS, WRAPPERS, given, gradient, scene
from scenes import noise

from torchsep.losses import (
    FixedOrder,
    MixtureInvariant,
    OneAndRestPIT,
    PermutationInvariant,
    WeightedSum,
    l1_loss,
    mse_loss,
    snr_loss,
)


@ANY
@WRAPPERS
def test_a_bad_item_stays_alone(wrapper, loss):
    estimates, sources = given(wrapper)
    loss = wrapper(loss)
    expected, slope = loss(estimates, sources), gradient(loss, estimates, sources)
    for bad in (estimates, sources):
        kept = bad.clone()
        bad[1, 0, 1, 4] = torch.nan
        found = loss(estimates, sources)
        assert found[1].isnan()
        torch.testing.assert_close(found[[0, 2]], expected[[0, 2]])
        torch.testing.assert_close(gradient(loss, estimates, sources)[[0, 2]], slope[[0, 2]])
        bad.copy_(kept)


@WRAPPERS
def test_items_are_alone(wrapper):
    estimates, sources = given(wrapper, 4, torch.float32)
    loss = wrapper(snr_loss)
    alone = torch.cat([loss(*pair) for pair in zip(estimates.split(1), sources.split(1), strict=True)])
    torch.testing.assert_close(alone, loss(estimates, sources), rtol=1e-5, atol=1e-5)
    strided = estimates.transpose(0, 1).contiguous().transpose(0, 1)
    torch.testing.assert_close(loss(strided, sources), loss(estimates, sources))


@ANY
@WRAPPERS
def test_silence_and_single_samples_are_defined(wrapper, loss):
    estimates, sources = given(wrapper)
    silence = torch.zeros_like(sources)
    silent_estimates = torch.zeros_like(estimates)
    cases = [
        (estimates, silence),
        (silent_estimates, sources),
        (silent_estimates, silence),
        (estimates[..., :1], sources[..., :1]),
    ]
    for case in cases:
        assert wrapper(loss)(*case).isfinite().all()
        assert gradient(wrapper(loss), *case).isfinite().all()


@pytest.mark.parametrize("name", ["si_sdr", "snr, clipped", "stft", "sum"])
@pytest.mark.parametrize("wrapper", [FixedOrder, PermutationInvariant])
def test_a_silent_source_is_measured_against_the_sum_of_the_others(wrapper, name):
    _, sources = scene()
    sources[:, 2] = 0.0
    estimates = sources + 0.1 * noise(*sources.shape, seed=3)
    loss = PAIRS[name]
    expected = loss(estimates, sources, mixture=sources.sum(1, keepdim=True)).mean(1)
    torch.testing.assert_close(wrapper(loss)(estimates, sources), expected)
    quieter = torch.cat((estimates[:, :2], 0.1 * estimates[:, 2:]), 1)
    assert (wrapper(loss)(quieter, sources) < expected).all()


def test_one_and_rest_never_takes_silence_for_the_one():
    """Otherwise the trivial estimates silence and mixture would be optimal."""
    _, sources = scene()
    sources[:, 0] = 0.0
    loss, mixture = OneAndRestPIT(snr_loss), sources.sum(1)
    lazy = torch.stack((torch.zeros_like(mixture), mixture), 1)
    good = torch.stack((sources[:, 2], sources[:, 1]), 1)
    assert loss.choice(lazy, sources).min() > 0
    assert loss.choice(good, sources).tolist() == [2] * 3
    assert (loss(good, sources) < loss(lazy, sources)).all()
    sources[:, 1] = 0.0  # a single source, with a silent rest
    last = torch.stack((sources[:, 2], torch.zeros_like(mixture)), 1)
    assert loss.choice(last, sources).tolist() == [2] * 3
    assert (loss(last, sources) < -500).all()
    assert (loss(last + 0.1, sources) > loss(last, sources)).all()


def test_the_least_of_one_and_rest_does_not_count_silence_among_the_others():
    estimates, sources = given(OneAndRestPIT)
    padded = torch.cat((sources, torch.zeros_like(sources[:, :2])), 1)
    torch.testing.assert_close(OneAndRestPIT(snr_loss)(estimates, padded), OneAndRestPIT(snr_loss)(estimates, sources))


@WRAPPERS
def test_half_precision_is_computed_in_single(wrapper):
    estimates, sources = given(wrapper)
    half = estimates.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = wrapper(snr_loss)(half, sources.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wrapper(snr_loss)(half.float(), sources.float()))


@pytest.mark.parametrize("wrapper", [FixedOrder, PermutationInvariant])
def test_as_many_estimates_as_sources(wrapper):
    estimates, sources = scene()
    message = r"estimates must have shape \(3, 3, 2, 30\) for sources \(3, 3, 2, 30\), got \(3, 2, 2, 30\)"
    with pytest.raises(ValueError, match=message):
        wrapper(l1_loss)(estimates[:, 1:], sources)
    with pytest.raises(
        ValueError, match=r"sources must have shape \(B, S, ...\) with at least one source, got \(3, 0, 2\)"
    ):
        wrapper(l1_loss)(torch.ones(3, 0, 2), torch.ones(3, 0, 2))


def test_what_else_is_refused():
    estimates, sources = scene()
    with pytest.raises(ValueError, match=r"estimates must have shape \(3, 2, 2, 30\) for sources"):
        OneAndRestPIT(l1_loss)(estimates, sources)
    with pytest.raises(ValueError, match=r"mixtures must have shape \(B, 2, C, T\), got \(3, 1, 2, 30\)"):
        MixtureInvariant(l1_loss)(estimates, sources[:, :1])
    with pytest.raises(ValueError, match=r"estimates must have shape \(B, M, C, T\) for mixtures"):
        MixtureInvariant(l1_loss)(estimates[..., 1:], sources)
    with pytest.raises(ValueError, match="estimates must be at most 12 for 2 mixtures, got 13"):
        MixtureInvariant(l1_loss)(torch.ones(1, 13, 1, 4), torch.ones(1, 2, 1, 4))
    with pytest.raises(ValueError, match=r"loss must be a function of \(estimates, sources\), got 'si_sdr'"):
        PermutationInvariant("si_sdr")
    with pytest.raises(ValueError, match=r"loss must return one value for each of \(3, 3\) pairs, got shape \(\)"):
        PermutationInvariant(torch.nn.functional.mse_loss)(estimates, sources)
    with pytest.raises(ValueError, match=r"weights must hold one number for each of 2 losses, got \[1.0\]"):
        WeightedSum([l1_loss, mse_loss], [1.0])
    with pytest.raises(ValueError, match="weights must be at least 0, got -1"):
        WeightedSum([l1_loss], [-1.0])
