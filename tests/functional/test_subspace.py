"""Singular values that are lowered on a subspace, against whole decompositions."""

import pytest
import torch

from torchsep.functional.linalg import _subspace as subspace
from torchsep.functional.linalg._subspace import ThresholdTracker, joined, products


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def with_values(rows, columns, values, seed=0):
    left, right = (torch.linalg.qr(normal(size, len(values), seed=seed + size))[0] for size in (rows, columns))
    return (left * values) @ right.mT


def decaying(rows, columns):
    return with_values(rows, columns, 10.0 ** -torch.linspace(0, 7, min(rows, columns), dtype=torch.float64))


def following(matrix):
    """A tracker of one matrix, and what makes its factors."""
    trackers = [ThresholdTracker(matrix[None])]

    def factors(matrix, threshold):
        ((trackers[0], left, right),) = trackers[0](matrix[None], threshold)
        return left[0], right[0]

    return factors


def lowered(matrix, threshold):
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return (left * (values - threshold).relu()) @ right


@pytest.mark.parametrize("shape", [(200, 260), (260, 200)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_matrix_that_changes_is_followed(shape, dtype):
    """Each matrix differs from the last by as much as the threshold, as in the method that it is made for."""
    matrix = decaying(*shape)
    tracker = following(matrix.to(dtype))
    for number in range(36):
        threshold = 0.8 * 1.5**-number
        matrix = matrix + threshold * with_values(*shape, torch.ones(5, dtype=torch.float64), seed=number) / 5
        left, right = tracker(matrix.to(dtype), threshold)
        assert left.dtype == right.dtype == dtype
        found = (left @ right.mT).double()
        assert torch.linalg.matrix_norm(found - lowered(matrix, threshold), 2) < 0.1 * threshold + 1e-6


@pytest.mark.parametrize("shape", [(200, 260), (260, 200)])
def test_every_matrix_of_a_batch_is_followed_as_it_would_be_alone(shape):
    crowd = with_values(*shape, torch.linspace(1.0, 0.9, 200, dtype=torch.float64))
    matrices = torch.stack((decaying(*shape), crowd, torch.zeros(shape).double(), 0.1 * crowd + decaying(*shape)))
    alone, trackers = [following(matrix) for matrix in matrices], [ThresholdTracker(matrices)]
    for number in range(36):
        threshold = 0.8 * 1.5**-number
        found = [part for tracker in trackers for part in tracker(matrices[tracker.items], threshold)]
        trackers = joined(part.tracker for part in found)
        assert sorted(item for tracker in trackers for item in tracker.items) == [0, 1, 2, 3]
        assert len({tracker.kind for tracker in trackers}) == len(trackers)
        for tracker, lefts, rights in found:
            for item, left, right in zip(tracker.items, lefts, rights, strict=True):
                one, other = alone[item](matrices[item], threshold)
                assert torch.allclose(left @ right.mT, one @ other.mT, rtol=0, atol=1e-10)
    assert len(trackers) > 1
    assert trackers[0].without(trackers[0].items) is None
    assert trackers[0].without([]) is trackers[0]


def test_those_that_meet_again_are_followed_together():
    """Items 0 and 2 are of the same rank all the time, item 1 of a higher one in between."""
    few, many = (with_values(150, 170, torch.ones(rank, dtype=torch.float64), seed=rank) for rank in (3, 40))
    trackers = joined([ThresholdTracker(torch.stack((few, few, few)))])
    for second, expected in ((many, [[0, 2], [1]]), (few, [[0, 1, 2]])):
        matrices = torch.stack((few, second, few))
        found = [part for tracker in trackers for part in tracker(matrices[tracker.items], 0.5)]
        trackers = joined(part.tracker for part in found)
        assert [tracker.items for tracker in trackers] == expected
    (again,) = trackers
    for item, left, right in zip(again.items, *again(matrices, 0.4)[0][1:], strict=True):
        assert torch.allclose(left @ right.mT, 0.6 * few, rtol=0, atol=1e-9), item


@pytest.mark.parametrize("shape", [(200, 230), (230, 200)])
def test_many_singular_values_at_once(shape):
    """All are below one threshold and above the next: the few dimensions that were kept do not do."""
    matrix = with_values(*shape, torch.linspace(1.0, 0.9, 200, dtype=torch.float64))
    tracker = following(matrix)
    assert tracker(matrix, 1.1)[0].shape[1] == 0
    left, right = tracker(matrix, 0.8)
    assert torch.allclose(left @ right.mT, lowered(matrix, 0.8), rtol=0, atol=1e-9)
    left, right = tracker(0.5 * matrix, 0.3)
    assert torch.allclose(left @ right.mT, lowered(0.5 * matrix, 0.3), rtol=0, atol=1e-9)


def test_a_crowd_just_below_the_threshold_leaves_what_is_above_exact():
    values = torch.cat((torch.tensor([1.0, 0.6, 0.52]), torch.linspace(0.49, 0.4, 197))).double()
    matrix = with_values(200, 230, values)
    left, right = following(matrix)(matrix, 0.5)
    assert left.shape[1] == 3
    assert torch.allclose(left @ right.mT, lowered(matrix, 0.5), rtol=0, atol=1e-6)


@pytest.mark.parametrize("rank", [0, 1, 3])
@pytest.mark.parametrize("threshold", [0.8, 1e-2, 1e-3, 1e-4, 1e-5])
def test_what_is_of_low_rank_gives_finite_factors(rank, threshold):
    matrix = with_values(140, 150, torch.ones(rank, dtype=torch.float64)).float()
    tracker = following(matrix)
    for now in (0.9, threshold, threshold / 2):
        left, right = tracker(matrix, now)
        assert torch.allclose(left @ right.mT, (1 - now) * matrix, rtol=0, atol=1e-5)


@pytest.mark.parametrize("alike", [1.0, 0.05, 1e-3, 1e-9, 0.0])
def test_bases_are_orthonormal(alike):
    """Also of columns that are nearly or wholly the same, of zeros, and of any length."""
    columns = 1.0 + alike * normal(100, 12)
    columns[:, 3] *= alike > 0
    columns = columns * 10.0 ** torch.arange(0, -12, -1)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 2e-14)):
        (basis,) = subspace._orthonormal(columns.to(dtype)[None])
        assert torch.allclose(basis.mT @ basis, torch.eye(12, dtype=dtype), rtol=0, atol=tolerance)
    first = columns[:, :1] / torch.linalg.vector_norm(columns[:, :1])
    assert torch.allclose((first.mT @ basis[:, :1]).abs(), torch.ones(1, 1, dtype=torch.float64))


def test_products_of_a_batch_are_those_of_its_items_to_the_last_digit():
    left, right = normal(5, 72, 96), normal(5, 112, 96, seed=1).mT
    found = products(left, right)
    assert all(torch.equal(item, one @ other) for item, one, other in zip(found, left, right, strict=True))
    room = torch.empty_like(found)
    assert products(left, right, out=room) is room
    assert torch.equal(room, found)
