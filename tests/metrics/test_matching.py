"""Assignment of estimates to sources, for any numbers of both."""

import itertools

import pytest
import torch
from scenes import noise

from torchsep.metrics import match_estimates, pairwise, sd_sdr, si_sdr, snr
from torchsep.metrics.matching import best_order


def scene(*shape, others=4):
    sources = noise(*shape, 3, 2, 200)
    return noise(*shape, others, 2, 200, seed=1) + torch.einsum("sr,...sct->...rct", noise(3, others), sources), sources


@pytest.mark.parametrize("metric", [si_sdr, sd_sdr, snr])
def test_pairs_are_independent(metric):
    estimates, sources = scene(5)
    found = pairwise(metric, estimates, sources)
    assert found.shape == (5, 3, 4)
    for source, other in itertools.product(range(3), range(4)):
        expected = metric(estimates[:, other], sources[:, source]).mean(-1)
        assert torch.allclose(found[:, source, other], expected)


@pytest.mark.parametrize(("count", "others"), [(1, 1), (3, 3), (3, 5), (4, 2), (1, 3), (3, 1)])
def test_the_order_is_the_best_of_all(count, others):
    scores = 10 * noise(6, count, others)
    found = best_order(scores)
    for item, order in zip(scores, found, strict=True):
        given = [(source, other) for source, other in enumerate(order.tolist()) if other >= 0]
        assert len(given) == min(count, others)
        assert len({other for _, other in given}) == len(given)
        best = max(
            sum(item[source, other].item() for source, other in zip(some, chosen, strict=True))
            for some in itertools.combinations(range(count), len(given))
            for chosen in itertools.permutations(range(others), len(given))
        )
        assert sum(item[pair].item() for pair in given) == pytest.approx(best)


def test_infinite_scores_come_first_and_undefined_ones_last():
    inf, nan = torch.inf, torch.nan
    assert best_order(torch.tensor([[inf, 300.0], [0.0, 1.0]])).tolist() == [0, 1]
    assert best_order(torch.tensor([[-inf, 0.0], [200.0, 300.0]])).tolist() == [1, 0]
    assert best_order(torch.tensor([[nan, -100.0], [3.0, 5.0]])).tolist() == [1, 0]
    assert best_order(torch.tensor([[nan, nan], [5.0, 3.0], [9.0, 9.5]])).tolist() == [-1, 0, 1]
    assert sorted(best_order(torch.full((3, 3), nan)).tolist()) == [0, 1, 2]


@pytest.mark.parametrize("chosen", [[2, 0, 1], [1, 2], [0]])
def test_estimates_come_in_the_order_of_the_sources(chosen):
    _, sources = scene(2)
    sources[1] = sources[0].flip(0)  # each item has its own order
    found = match_estimates(si_sdr, 0.5 * sources[0, chosen].expand(2, -1, -1, -1), sources)
    order = [chosen.index(source) if source in chosen else -1 for source in range(3)]
    assert found.order.tolist() == [order, order[::-1]]
    kept = torch.tensor([number >= 0 for number in order])
    assert torch.equal(found.estimates[0], 0.5 * sources[0] * kept[:, None, None])


def test_spare_estimates_are_left():
    _, sources = scene()
    estimates = torch.cat((noise(1, 2, 200, seed=5), sources.flip(0), noise(1, 2, 200, seed=6)))
    found = match_estimates(si_sdr, estimates, sources)
    assert found.order.tolist() == [3, 2, 1]
    assert torch.equal(found.estimates, sources)


def test_gradients_reach_the_estimates_that_were_taken():
    estimates, sources = scene(others=5)
    estimates.requires_grad_()
    found = match_estimates(si_sdr, estimates, sources)
    found.estimates.sum().backward()
    assert (estimates.grad.amax((-2, -1)) > 0).nonzero()[:, 0].tolist() == sorted(found.order.tolist())


def test_shapes_must_agree():
    estimates, sources = scene()
    message = r"estimates must have the shape of sources, \(3, 2, 200\), in any number, got \(4, 2, 199\)"
    with pytest.raises(ValueError, match=message):
        match_estimates(si_sdr, estimates[..., :-1], sources)
