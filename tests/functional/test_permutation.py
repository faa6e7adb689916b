"""Optimal assignment against SciPy, and against all permutations."""

from itertools import permutations

import numpy as np
import pytest
import torch
from scenes import noise
from scipy.optimize import linear_sum_assignment

from torchsep.functional import assignment as permutation
from torchsep.functional.assignment import best_permutation, optimal_assignment


def total(cost, columns):
    return cost.take_along_dim(columns[..., None], -1).sum((-2, -1))


def least(cost):
    return torch.tensor([item.numpy()[linear_sum_assignment(item.numpy())].sum() for item in cost])


def check(cost):
    columns = optimal_assignment(cost)
    assert columns.shape == cost.shape[:-1]
    assert columns.dtype == torch.long
    ordered = columns.sort(-1).values
    assert (ordered.diff(dim=-1) > 0).all(), "a column given twice"
    assert ((columns >= 0) & (columns < cost.shape[-1])).all()
    torch.testing.assert_close(total(cost, columns), least(cost).to(cost), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", range(1, 11))
@pytest.mark.parametrize("extra", [0, 1, 4])
def test_random_costs(size, extra):
    check(torch.randn(100, size, size + extra, dtype=torch.float64))


@pytest.mark.parametrize("size", range(1, 11))
@pytest.mark.parametrize("values", [1, 2, 4])
def test_tied_costs(size, values):
    check(torch.randint(0, values, (100, size, size)).double())


def test_the_steepest_paths_are_taken():
    """The costs i * j need every row moved whenever one is added."""
    row = torch.arange(1.0, 31.0, dtype=torch.float64)
    check(torch.stack((torch.outer(row, row), torch.outer(row, row.flip(0)))))


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_scale_and_offsets_do_not_matter(scale):
    cost = torch.randn(50, 5, 5, dtype=torch.float64)
    expected = optimal_assignment(cost)
    moved = (cost + torch.randn(50, 5, 1) + torch.randn(50, 1, 5)) * scale
    assert torch.equal(optimal_assignment(moved), expected)


def test_agrees_with_all_permutations_in_single_precision():
    cost = torch.randn(200, 4, 4)
    every = torch.tensor(list(permutations(range(4))))
    sums = cost[:, torch.arange(4), every].sum(-1)
    assert torch.equal(optimal_assignment(cost), every[sums.argmin(1)])


@pytest.mark.parametrize("dtype", [torch.int64, torch.float16, torch.bfloat16])
def test_other_dtypes(dtype):
    cost = torch.randint(-9, 9, (40, 6, 6)).to(dtype)
    columns = optimal_assignment(cost)
    torch.testing.assert_close(total(cost.double(), columns), least(cost.double()))


def test_equal_costs_give_the_own_number():
    assert optimal_assignment(torch.full((3, 4, 6), 2.5)).tolist() == [[0, 1, 2, 3]] * 3


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_non_finite_item_gets_the_identity_and_is_isolated(bad):
    cost = torch.randn(5, 4, 4)
    expected = optimal_assignment(cost)
    cost[2, 1, 3] = bad
    expected[2] = torch.arange(4)
    assert torch.equal(optimal_assignment(cost), expected)


def test_items_are_independent():
    cost = torch.randn(20, 6, 8)
    alone = torch.stack([optimal_assignment(item) for item in cost])
    assert torch.equal(optimal_assignment(cost), alone)


def test_any_leading_axes_and_layouts():
    cost = torch.randn(2, 3, 4, 5)
    expected = optimal_assignment(cost.flatten(0, 1)).view(2, 3, 4)
    assert torch.equal(optimal_assignment(cost), expected)
    assert torch.equal(optimal_assignment(cost.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)), expected)
    assert optimal_assignment(torch.zeros(0, 3, 3)).shape == (0, 3)
    assert optimal_assignment(torch.zeros(2, 0, 3)).shape == (2, 0)


@pytest.mark.parametrize("shape", [(3,), (3, 2), (5, 3, 2)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"^cost must have shape \(\.\.\., S, R\) with S at most R, got \("):
        optimal_assignment(torch.zeros(shape))


def test_costs_are_not_modified_and_have_no_gradient():
    cost = torch.randn(3, 4, 4, requires_grad=True)
    before = cost.detach().clone()
    assert not optimal_assignment(cost).requires_grad
    assert torch.equal(cost.detach(), before)


def test_steps_grow_as_a_polynomial(monkeypatch):
    """Ten rows take at most 1 + 2 + ... + 10 steps, of the 3.6 million permutations."""
    steps, original = [], torch.Tensor.take_along_dim
    monkeypatch.setattr(torch.Tensor, "take_along_dim", lambda *given: steps.append(1) or original(*given))
    row = np.arange(1.0, 11.0)
    optimal_assignment(torch.from_numpy(np.outer(row, row)))
    assert len(steps) <= 55


def test_compiles():
    compiled = torch.compile(permutation.optimal_assignment, fullgraph=True, backend="eager")
    cost = torch.randn(3, 4, 4)
    assert torch.equal(compiled(cost), optimal_assignment(cost))


# ---------------------------------------------------------------- order


def test_the_order_is_found_by_all_channels_together_and_at_any_level():
    reference = noise(4, 3, 2, 50)
    order = torch.tensor([[2, 0, 1], [0, 1, 2], [1, 0, 2], [2, 1, 0]])
    shuffled = torch.empty_like(reference)
    shuffled[torch.arange(4)[:, None], order] = reference
    for gain in (1e-25, 1.0, 1e25):
        assert torch.equal(best_permutation(reference, gain * shuffled), order)
    shuffled[2, 1, 0, 7] = torch.nan
    found = best_permutation(reference, shuffled)
    assert torch.equal(found[[0, 1, 3]], order[[0, 1, 3]])
    assert found[2].tolist() == [0, 1, 2]


def test_a_quiet_source_counts_as_much_as_a_loud_one():
    reference = noise(1, 2, 1, 200) * torch.tensor([1e-3, 1.0])[:, None, None]
    leaking = torch.stack((reference[:, 1], reference[:, 0] + 1e-4 * reference[:, 1]), 1)
    assert best_permutation(reference, leaking).tolist() == [[1, 0]]
