"""Matrix decompositions and functions compared with torch, and gradients for repeated eigenvalues."""

import pytest
import torch

from torchsep.functional.linalg.matrix_functions import (
    eigh,
    inverse_square_root,
    singular_value_threshold,
    spectral_norm,
    svd,
    threshold_derivative,
)


def random(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def orthonormal(rows, columns, seed=0):
    return torch.linalg.qr(random(rows, columns, seed=seed))[0]


def with_values(values, rows, columns):
    values = torch.tensor(values, dtype=torch.float64)
    return (orthonormal(rows, len(values)) * values) @ orthonormal(columns, len(values), seed=1).mT


def positive(values):
    basis = orthonormal(len(values), len(values))
    return (basis * torch.tensor(values, dtype=torch.float64)) @ basis.mT


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128])
def test_eigh_rebuilds_the_matrix(dtype):
    matrix = random(3, 2, 5, 5, dtype=dtype)
    matrix = matrix + matrix.mH
    values, vectors = eigh(matrix.mT.contiguous().mT)
    assert values.dtype == matrix.real.dtype
    assert torch.allclose((vectors * values[..., None, :]) @ vectors.mH, matrix, atol=1e-5)
    assert (values.diff(dim=-1) >= 0).all()


@pytest.mark.parametrize("shape", [(2, 4, 7), (7, 4), (1, 1), (3, 5, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex128])
def test_svd_rebuilds_the_matrix(shape, dtype):
    matrix = random(*shape, dtype=dtype)
    left, values, right = svd(matrix)
    assert torch.allclose((left * values[..., None, :]) @ right.mH, matrix, atol=1e-5)
    assert torch.allclose(values, torch.linalg.svdvals(matrix), atol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_items_are_isolated(bad):
    matrix = random(3, 4, 4)
    matrix = matrix @ matrix.mT
    spoiled = matrix.clone()
    spoiled[1, 2, 3] = bad
    for function in (eigh, svd, inverse_square_root, lambda x: singular_value_threshold(x, 1.0)):
        expected, got = function(matrix), function(spoiled)
        if isinstance(got, torch.Tensor):
            expected, got = (expected,), (got,)
        for plain, part in zip(expected, got, strict=True):
            assert torch.equal(part[::2], plain[::2])
            assert part[1].isnan().all() or function is inverse_square_root


@pytest.mark.parametrize("values", [[4.0, 1.0, 0.25], [2.0, 2.0, 0.5], [1.0, 1.0, 1.0]])
def test_the_inverse_square_root_whitens(values):
    matrix = positive(values)
    root = inverse_square_root(matrix)
    assert torch.allclose(root @ matrix @ root, torch.eye(3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(root @ root, torch.linalg.inv(matrix), atol=1e-12)
    leaf = matrix.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: inverse_square_root(0.5 * (x + x.mT)), leaf)


def test_the_inverse_square_root_of_singular_matrices():
    basis = orthonormal(4, 2)
    matrix = basis @ torch.diag(torch.tensor([4.0, 4.0], dtype=torch.float64)) @ basis.mT
    root = inverse_square_root(matrix)
    assert torch.allclose(root @ matrix @ root, basis @ basis.mT, atol=1e-12)
    assert torch.equal(inverse_square_root(torch.zeros(2, 3, 3)), torch.zeros(2, 3, 3))

    def through_rank_two(factor):  # whose products keep the rank, so that differences can be taken
        return inverse_square_root(factor @ factor.mT, tolerance=1e-6)

    assert torch.autograd.gradcheck(through_rank_two, random(4, 2).requires_grad_())
    zero = torch.zeros(3, 3, requires_grad=True)
    inverse_square_root(zero).sum().backward()
    assert zero.grad.isfinite().all()


@pytest.mark.parametrize(
    ("values", "rows", "columns"),
    [
        ([3.0, 2.0, 0.5, 0.1], 4, 6),
        ([3.0, 2.0, 0.5], 5, 3),
        ([2.0, 2.0, 0.4, 0.4], 4, 4),
        ([2.0, 2.0, 2.0, 0.5], 6, 4),
        ([3.0, 3.0, 0.0, 0.0], 4, 5),
        ([2.0], 1, 1),
    ],
)
def test_thresholded_singular_values(values, rows, columns):
    matrix = with_values(values, rows, columns)
    lowered = singular_value_threshold(matrix, 1.0)
    expected = with_values([max(value - 1.0, 0.0) for value in values], rows, columns)
    assert torch.allclose(lowered, expected, atol=1e-12)
    threshold = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(singular_value_threshold, (matrix.requires_grad_(), threshold))


def test_one_threshold_per_matrix():
    matrix, thresholds = random(3, 4, 6), torch.tensor([0.1, 1.0, 100.0], dtype=torch.float64)
    lowered = singular_value_threshold(matrix, thresholds)
    for number in range(3):
        assert torch.allclose(lowered[number], singular_value_threshold(matrix[number], thresholds[number].item()))
    assert (lowered[2] == 0).all()


def test_the_derivative_is_self_adjoint():
    matrix, one, other = random(4, 7), random(4, 7, seed=1), random(4, 7, seed=2)
    parts = (*svd(matrix), torch.tensor(1.5, dtype=torch.float64))
    forward, backward = (threshold_derivative(*parts, direction) for direction in (one, other))
    assert (forward * other).sum().item() == pytest.approx((one * backward).sum().item(), rel=1e-12)
    step = 1e-6
    ahead, behind = (singular_value_threshold(matrix + sign * step * one, 1.5) for sign in (1, -1))
    assert torch.allclose((ahead - behind) / (2 * step), forward, atol=1e-8)


@pytest.mark.parametrize("shape", [(2, 30, 50), (50, 30), (3, 1, 4), (1, 1)])
def test_the_spectral_norm(shape):
    matrix = random(*shape).abs()
    expected = torch.linalg.matrix_norm(matrix, 2)
    assert torch.allclose(spectral_norm(matrix), expected, rtol=1e-9)
    assert torch.allclose(spectral_norm(matrix.float()), expected.float(), rtol=1e-5)
    assert (spectral_norm(torch.zeros(shape)) == 0).all()
    ours, plain = (
        torch.autograd.grad(norm(leaf).sum(), leaf)[0]
        for norm, leaf in (
            (spectral_norm, matrix.clone().requires_grad_()),
            (lambda x: torch.linalg.matrix_norm(x, 2), matrix.clone().requires_grad_()),
        )
    )
    assert torch.allclose(ours, plain, atol=1e-7)
