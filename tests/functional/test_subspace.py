"""Singular value thresholding by subspace tracking, compared with full decompositions."""

import pytest
import torch

from torchsep.functional.linalg import _subspace as subspace
from torchsep.functional.linalg._subspace import SubspaceTracker


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def with_values(rows, columns, values, seed=0):
    left, right = (torch.linalg.qr(normal(size, len(values), seed=seed + size))[0] for size in (rows, columns))
    return (left * values) @ right.mT


def decaying(rows, columns):
    return with_values(rows, columns, 10.0 ** -torch.linspace(0, 7, min(rows, columns), dtype=torch.float64))


def thresholded(matrix, threshold):
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return (left * (values - threshold).relu()) @ right


@pytest.mark.parametrize("shape", [(200, 260), (260, 200)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_changing_matrix_is_tracked(shape, dtype):
    """Successive matrices differ by as much as the threshold, as in robust PCA."""
    matrix = decaying(*shape)
    tracker = SubspaceTracker(matrix.to(dtype))
    for number in range(36):
        threshold = 0.8 * 1.5**-number
        matrix = matrix + threshold * with_values(*shape, torch.ones(5, dtype=torch.float64), seed=number) / 5
        left, right = tracker(matrix.to(dtype), threshold)
        assert left.dtype == right.dtype == dtype
        found = (left @ right.mT).double()
        assert torch.linalg.matrix_norm(found - thresholded(matrix, threshold), 2) < 0.1 * threshold + 1e-6


@pytest.mark.parametrize("shape", [(200, 230), (230, 200)])
def test_many_singular_values_at_once(shape):
    """All are below one threshold and above the next, so the subspace is too small."""
    matrix = with_values(*shape, torch.linspace(1.0, 0.9, 200, dtype=torch.float64))
    tracker = SubspaceTracker(matrix)
    assert tracker(matrix, 1.1)[0].shape[1] == 0
    left, right = tracker(matrix, 0.8)
    assert torch.allclose(left @ right.mT, thresholded(matrix, 0.8), rtol=0, atol=1e-9)
    left, right = tracker(0.5 * matrix, 0.3)
    assert torch.allclose(left @ right.mT, thresholded(0.5 * matrix, 0.3), rtol=0, atol=1e-9)


def test_values_just_below_the_threshold_do_not_affect_those_above():
    values = torch.cat((torch.tensor([1.0, 0.6, 0.52]), torch.linspace(0.49, 0.4, 197))).double()
    matrix = with_values(200, 230, values)
    left, right = SubspaceTracker(matrix)(matrix, 0.5)
    assert left.shape[1] == 3
    assert torch.allclose(left @ right.mT, thresholded(matrix, 0.5), rtol=0, atol=1e-6)


@pytest.mark.parametrize("rank", [0, 1, 3])
@pytest.mark.parametrize("threshold", [0.8, 1e-2, 1e-3, 1e-4, 1e-5])
def test_factors_of_low_rank_matrices_are_finite(rank, threshold):
    matrix = with_values(140, 150, torch.ones(rank, dtype=torch.float64)).float()
    tracker = SubspaceTracker(matrix)
    for now in (0.9, threshold, threshold / 2):
        left, right = tracker(matrix, now)
        assert torch.allclose(left @ right.mT, (1 - now) * matrix, rtol=0, atol=1e-5)


@pytest.mark.parametrize("difference", [1.0, 0.05, 1e-3, 1e-9, 0.0])
def test_bases_are_orthonormal(difference):
    """Also for (nearly) equal columns, zero columns and columns of very different lengths."""
    columns = 1.0 + difference * normal(100, 12)
    columns[:, 3] *= difference > 0
    columns = columns * 10.0 ** torch.arange(0, -12, -1)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 2e-14)):
        basis = subspace._orthonormal(columns.to(dtype))
        assert torch.allclose(basis.mT @ basis, torch.eye(12, dtype=dtype), rtol=0, atol=tolerance)
    first = columns[:, :1] / torch.linalg.vector_norm(columns[:, :1])
    assert torch.allclose((first.mT @ basis[:, :1]).abs(), torch.ones(1, 1, dtype=torch.float64))
