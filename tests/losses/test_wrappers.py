"""Which estimate is compared with which source, against all ways of doing so."""

from functools import partial
from itertools import permutations, product

import pytest
import torch
from scenes import noise
from torch.autograd import gradcheck

from torchsep.losses import (
    FixedOrder,
    MixtureInvariant,
    MultiResolutionSTFT,
    OneAndRestPIT,
    PermutationInvariant,
    WeightedSum,
    kl_loss,
    l1_loss,
    magnitude_l1_loss,
    mse_loss,
    si_sdr_loss,
    snr_loss,
)

PAIRS = {
    "si_sdr": si_sdr_loss,
    "snr, clipped": partial(snr_loss, clip_db=30.0),
    "l1": l1_loss,
    "stft": MultiResolutionSTFT(n_ffts=(16,)),
    "sum": WeightedSum([snr_loss, l1_loss], [1.0, 3.0]),
    "of a user": lambda estimates, sources: (estimates - sources).pow(4).amax((-2, -1)),
}
ANY = pytest.mark.parametrize("loss", PAIRS.values(), ids=PAIRS)
WRAPPERS = pytest.mark.parametrize("wrapper", [FixedOrder, PermutationInvariant, OneAndRestPIT, MixtureInvariant])


def scene(batch=3, count=3, *, samples=30, dtype=torch.float64):
    """Sources, and estimates of each in another order in every item."""
    sources = noise(batch, count, 2, samples)
    orders = torch.stack([torch.randperm(count, generator=torch.Generator().manual_seed(n)) for n in range(batch)])
    estimates = torch.stack([item[order] for item, order in zip(sources, orders, strict=True)])
    return (0.8 * estimates + 0.3 * noise(batch, count, 2, samples, seed=1)).to(dtype), sources.to(dtype)


def given(wrapper, batch=3, dtype=torch.float64):
    """What a wrapper takes."""
    estimates, sources = scene(batch, dtype=dtype)
    if wrapper is OneAndRestPIT:
        return torch.stack((estimates[:, 1], estimates[:, 0] + estimates[:, 2]), 1), sources
    if wrapper is MixtureInvariant:
        return estimates, torch.stack((sources[:, 0] + sources[:, 2], sources[:, 1]), 1)
    return estimates, sources


def gradient(loss, estimates, sources):
    estimates = estimates.detach().clone().requires_grad_()
    loss(estimates, sources).sum().backward()
    return estimates.grad


def agrees(found, slow, estimates, sources):
    """With a slow definition for one item, in values and gradients."""
    values, slopes = found(estimates, sources), gradient(found, estimates, sources)
    assert values.shape == (len(sources),)
    for item in range(len(sources)):
        estimate = estimates[item].clone().requires_grad_()
        expected = slow(estimate, sources[item])
        torch.testing.assert_close(values[item], expected)
        torch.testing.assert_close(slopes[item], *torch.autograd.grad(expected, estimate))


def every_permutation(loss, estimates, sources):
    totals = []
    for order in permutations(range(len(sources))):
        terms = [loss(estimates[place], source) for place, source in zip(order, sources, strict=True)]
        totals.append(sum(terms) / len(sources))
    return min(totals)


def every_choice(loss, estimates, sources):
    totals = []
    for one in range(len(sources)):
        rest = sum(source for number, source in enumerate(sources) if number != one)
        totals.append(loss(estimates[0], sources[one]) + loss(estimates[1], rest) / (len(sources) - 1))
    return min(totals)


def every_assignment(loss, estimates, mixtures):
    totals = []
    for places in product(range(len(mixtures)), repeat=len(estimates)):
        terms = []
        for number, mixture in enumerate(mixtures):
            own = [estimate for estimate, place in zip(estimates, places, strict=True) if place == number]
            terms.append(loss(sum(own) + torch.zeros_like(mixture), mixture))
        totals.append(sum(terms) / len(mixtures))
    return min(totals)


@ANY
@pytest.mark.parametrize("count", [1, 2, 4])
def test_permutation_invariance_is_the_least_of_all_permutations(loss, count):
    estimates, sources = scene(count=count)
    agrees(PermutationInvariant(loss), partial(every_permutation, loss), estimates, sources)


@ANY
def test_one_and_rest_is_the_least_of_all_choices(loss):
    estimates, sources = given(OneAndRestPIT)
    agrees(OneAndRestPIT(loss), partial(every_choice, loss), estimates, sources)


@ANY
def test_mixture_invariance_is_the_least_of_all_assignments(loss):
    estimates, mixtures = given(MixtureInvariant)
    agrees(MixtureInvariant(loss), partial(every_assignment, loss), estimates, mixtures)


def test_mixtures_may_be_three():
    estimates, mixtures = scene(2, 4)[0], scene(2, 3)[1]
    agrees(MixtureInvariant(l1_loss), partial(every_assignment, l1_loss), estimates, mixtures)


def test_assignments_are_tried_in_parts(monkeypatch):
    estimates, mixtures = given(MixtureInvariant)
    whole = MixtureInvariant(snr_loss)(estimates, mixtures)
    monkeypatch.setattr("torchsep.losses.mixture_invariant._MAX_SAMPLES", 3 * mixtures.numel())
    torch.testing.assert_close(MixtureInvariant(snr_loss)(estimates, mixtures), whole)


@ANY
def test_in_order_is_the_mean(loss):
    def slow(estimates, sources):
        return sum(loss(*pair) for pair in zip(estimates, sources, strict=True)) / len(sources)

    agrees(FixedOrder(loss), slow, *scene())


@WRAPPERS
def test_gradients_are_exact(wrapper):
    estimates, sources = (tensor[..., :5].clone() for tensor in given(wrapper, 2))
    for loss in (snr_loss, l1_loss):
        assert gradcheck(wrapper(loss), (estimates.requires_grad_(), sources.requires_grad_()))


def test_the_permutation_says_which_estimate_is_of_each_source():
    _, sources = scene(4, 5)
    order = torch.stack([torch.randperm(5, generator=torch.Generator().manual_seed(n)) for n in range(4)])
    estimates = torch.zeros_like(sources)
    for item in range(4):
        for source in range(5):
            estimates[item, order[item, source]] = sources[item, source]
    assert torch.equal(PermutationInvariant(mse_loss).permutation(estimates, sources), order)
    assert PermutationInvariant(mse_loss)(estimates, sources).abs().max() < 1e-12


def test_the_choice_and_the_assignment_say_what_belongs_together():
    _, sources = scene(2, 4)
    for number in range(4):
        rest = sources.sum(1) - sources[:, number]
        choice = OneAndRestPIT(snr_loss).choice(torch.stack((sources[:, number], rest), 1), sources)
        assert choice.tolist() == [number] * 2
    mixtures = torch.stack((sources[:, 0] + sources[:, 3], sources[:, 1] + sources[:, 2]), 1)
    assert MixtureInvariant(snr_loss).assignment(sources, mixtures).tolist() == [[0, 1, 1, 0]] * 2


@ANY
@pytest.mark.parametrize("wrapper", [PermutationInvariant, MixtureInvariant])
def test_the_order_of_the_estimates_plays_no_part(loss, wrapper):
    estimates, sources = given(wrapper)
    loss = wrapper(loss)
    torch.testing.assert_close(loss(estimates[:, [2, 0, 1]], sources), loss(estimates, sources))
    torch.testing.assert_close(
        gradient(loss, estimates[:, [2, 0, 1]], sources), gradient(loss, estimates, sources)[:, [2, 0, 1]]
    )
    torch.testing.assert_close(loss(estimates, sources.flip(1)), loss(estimates, sources))


def test_the_permutation_is_that_of_the_whole_item():
    """Halves of the time that are in different orders are not matched apart from one another."""
    sources = torch.stack((torch.ones(1, 8), torch.zeros(1, 8)))[None]
    estimates = sources.clone()
    estimates[..., :3] = estimates.flip(1)[..., :3]
    assert PermutationInvariant(l1_loss)(estimates, sources).item() == pytest.approx(3 / 8)
    masks = estimates[..., None, :]
    assert PermutationInvariant(magnitude_l1_loss)(masks, sources[..., None, :]).item() == pytest.approx(3 / 8)


def test_many_sources():
    estimates, sources = scene(2, 40, samples=60)
    loss = PermutationInvariant(si_sdr_loss)
    order = loss.permutation(estimates, sources)
    assert torch.equal(order.sort(-1).values, torch.arange(40).expand(2, -1))
    assert (loss(estimates, sources) < FixedOrder(si_sdr_loss)(estimates, sources)).all()


def test_magnitudes_are_as_good_as_waveforms():
    estimates, targets = noise(2, 3, 1, 4, 5).abs(), noise(2, 3, 1, 4, 5, seed=1).abs()
    agrees(PermutationInvariant(kl_loss), partial(every_permutation, kl_loss), estimates, targets)
    two = estimates[:, :2]
    agrees(OneAndRestPIT(kl_loss), partial(every_choice, kl_loss), two, targets)


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
    """Or a separator that gives silence and the mixture would be perfect."""
    _, sources = scene()
    sources[:, 0] = 0.0
    loss, mixture = OneAndRestPIT(snr_loss), sources.sum(1)
    lazy = torch.stack((torch.zeros_like(mixture), mixture), 1)
    good = torch.stack((sources[:, 2], sources[:, 1]), 1)
    assert loss.choice(lazy, sources).min() > 0
    assert loss.choice(good, sources).tolist() == [2] * 3
    assert (loss(good, sources) < loss(lazy, sources)).all()
    sources[:, 1] = 0.0  # one is left, and its rest is silence
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


@WRAPPERS
def test_they_can_be_compiled(wrapper):
    estimates, sources = given(wrapper)
    loss = wrapper(PAIRS["snr, clipped"])
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(estimates, sources), loss(estimates, sources))


@WRAPPERS
def test_the_graph_holds_the_chosen_pairs_alone(wrapper):
    """What is kept for backward does not grow with the number of pairs that are tried."""
    sizes = []
    estimates, sources = given(wrapper)
    with torch.autograd.graph.saved_tensors_hooks(lambda kept: sizes.append(kept.numel()) or kept, lambda kept: kept):
        wrapper(mse_loss)(estimates.requires_grad_(), sources)
    assert sum(sizes) < 1.5 * max(estimates.numel(), sources.numel())


def test_sums_of_losses():
    estimates, sources = scene()
    pairs = WeightedSum([snr_loss, l1_loss], [0.5, 2.0])
    torch.testing.assert_close(
        pairs(estimates, sources), 0.5 * snr_loss(estimates, sources) + 2 * l1_loss(estimates, sources)
    )
    items = WeightedSum([PermutationInvariant(snr_loss), FixedOrder(mse_loss)], [1.0, 0.0])
    torch.testing.assert_close(items(estimates, sources), PermutationInvariant(snr_loss)(estimates, sources))


def test_functions_without_a_signature_are_losses_too():
    assert not FixedOrder(torch.dist)._with_mixture


def test_wrappers_are_compared_by_value():
    assert PermutationInvariant(l1_loss) == PermutationInvariant(l1_loss) != PermutationInvariant(mse_loss)
    assert repr(FixedOrder(l1_loss)).startswith("FixedOrder(loss=<function l1_loss")


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
