"""Loss wrappers against exhaustive search over all assignments."""

from functools import partial
from itertools import permutations, product

import pytest
import torch
from losses.wrapped_losses import ANY, PAIRS, WRAPPERS, given, gradient, scene
from scenes import noise
from torch.autograd import gradcheck

from torchsep.losses import (
    CombinationInvariant,
    FixedOrder,
    MixtureInvariant,
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


def agrees(found, slow, estimates, sources):
    """Values and gradients agree with a slow definition for one item."""
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
    """One permutation is used for the whole item, even if its halves are in different orders."""
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


@WRAPPERS
def test_they_can_be_compiled(wrapper):
    estimates, sources = given(wrapper)
    loss = wrapper(PAIRS["snr, clipped"])
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(estimates, sources), loss(estimates, sources))


@WRAPPERS
def test_the_graph_holds_the_chosen_pairs_alone(wrapper):
    """Memory saved for backward does not grow with the number of candidate pairs."""
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


@ANY
@pytest.mark.parametrize("more", [0, 1, 2])
def test_the_best_combination_of_more_estimates(loss, more):
    estimates, sources = scene()
    whole = torch.cat((0.5 * noise(3, more, 2, 30, seed=4), estimates), 1)

    def slow(estimates, sources):
        chosen = permutations(range(len(estimates)), len(sources))
        terms = ([loss(estimates[place], source) for place, source in zip(c, sources, strict=True)] for c in chosen)
        return min(sum(each) / len(sources) for each in terms)

    agrees(CombinationInvariant(loss), slow, whole, sources)


def test_fewer_estimates_than_sources_are_refused():
    estimates, sources = scene()
    with pytest.raises(
        ValueError, match=r"^estimates must have shape \(3, 3, 2, 30\) for sources .*, got \(3, 2, 2, 30\)$"
    ):
        CombinationInvariant(l1_loss)(estimates[:, :2], sources)
