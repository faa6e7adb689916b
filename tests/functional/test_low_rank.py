"""Robust PCA compared with the plain algorithm, with full decompositions."""

import weakref

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import torchsep.functional.linalg.robust_pca as low_rank_module
from torchsep.functional._chunks import BlockSize
from torchsep.functional.linalg.robust_pca import low_rank_and_sparse


def random(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def plain_parts(matrix, max_iter=100, tol=1e-7):
    """The inexact method of augmented Lagrange multipliers as published, of one NumPy matrix."""
    weight = 1 / np.sqrt(max(matrix.shape))
    norm = np.linalg.norm(matrix, 2)
    multiplier = matrix / max(norm, np.abs(matrix).max() / weight)
    sparse, mu = np.zeros_like(matrix), 1.25 / norm
    largest = mu * 1e7
    for _ in range(max_iter):
        left, values, right = np.linalg.svd(matrix - sparse + multiplier / mu, full_matrices=False)
        low_rank = (left * np.maximum(values - 1 / mu, 0)) @ right
        rest = matrix - low_rank + multiplier / mu
        sparse = np.sign(rest) * np.maximum(np.abs(rest) - weight / mu, 0)
        lack = matrix - low_rank - sparse
        multiplier = multiplier + mu * lack
        mu = min(1.5 * mu, largest)
        if np.linalg.norm(lack) < tol * np.linalg.norm(matrix):
            break
    return low_rank, sparse


def textured(rows, columns, rank=6, density=0.05, seed=0):
    """A low-rank matrix with faint noise and sparse spikes, like a spectrogram."""
    patterns = random(rows, rank, seed=seed) ** 4 @ random(rank, columns, seed=seed + 1) ** 2
    faint = 0.3 * random(rows, columns, seed=seed + 2) ** 8
    spikes = 3 * (random(rows, columns, seed=seed + 3) < density) * random(rows, columns, seed=seed + 4)
    return patterns + faint + spikes


def distance(part, expected, matrix):
    return np.linalg.norm(part.double().numpy() - expected) / np.linalg.norm(matrix)


@pytest.mark.parametrize(
    ("shape", "dtype", "tolerance"),
    [
        *((shape, torch.float64, 1e-9) for shape in [(30, 50), (50, 20), (1, 9), (9, 1)]),
        *((shape, torch.float32, 1e-5) for shape in [(30, 50), (50, 20)]),
    ],
)
def test_equals_the_plain_algorithm(shape, dtype, tolerance):
    matrix = textured(*shape)
    expected = plain_parts(matrix.numpy())
    for part, plain in zip(low_rank_and_sparse(matrix.to(dtype)), expected, strict=True):
        assert part.dtype == dtype
        assert distance(part, plain, matrix) < tolerance


@pytest.mark.parametrize("shape", [(150, 210), (240, 140)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_matrices_agree_with_the_plain_algorithm(shape, dtype):
    matrix = textured(*shape)
    expected = plain_parts(matrix.numpy())
    for part, plain in zip(low_rank_and_sparse(matrix.to(dtype)), expected, strict=True):
        assert distance(part, plain, matrix) < 1e-4


def unusual_matrices():
    yield "constant", torch.ones(150, 160, dtype=torch.float64)
    yield "diagonal", 2 * torch.eye(150, dtype=torch.float64)
    yield "noise", random(150, 180)
    yield "blocks", torch.block_diag(random(80, 80), random(80, 80, seed=1))
    yield "little noise", random(160, 5) @ random(5, 150, seed=1) + 1e-2 * random(160, 150, seed=2)
    yield "partly zero", textured(150, 180) * (torch.arange(180) < 50)


@pytest.mark.parametrize(("name", "matrix"), [pytest.param(*case, id=case[0]) for case in unusual_matrices()])
def test_unusual_large_matrices_agree_with_the_plain_algorithm(name, matrix):
    """Many singular values exceed the threshold at once, or hardly any do."""
    expected = plain_parts(matrix.numpy())
    for part, plain in zip(low_rank_and_sparse(matrix.float()), expected, strict=True):
        assert distance(part, plain, matrix) < 1e-4


def test_input_is_unchanged_and_may_be_column_major():
    by_rows = textured(300, 470).float()  # in several pieces
    by_columns = by_rows.mT.contiguous().mT
    for part, other in zip(low_rank_and_sparse(by_columns), low_rank_and_sparse(by_rows), strict=True):
        assert torch.allclose(part, other, rtol=0, atol=1e-5)
    assert torch.equal(by_rows, textured(300, 470).float())
    assert torch.equal(by_columns, by_rows)


@pytest.mark.parametrize("block", [1000, 1 << 20])
def test_unusual_large_items_of_a_batch_do_not_depend_on_each_other_or_on_the_block_size(block, monkeypatch):
    matrices = torch.stack([matrix[:150, :150] for _, matrix in unusual_matrices()])
    expected = [low_rank_and_sparse(matrix) for matrix in matrices]
    monkeypatch.setattr(low_rank_module, "_BLOCK", BlockSize(block, block))
    for found, parts in zip(low_rank_and_sparse(matrices), zip(*expected, strict=True), strict=True):
        for item, alone in zip(found, parts, strict=True):
            # Bases of zero columns are arbitrary, which changes results within the tolerance of the method.
            assert (item - alone).abs().max() <= 1e-5 * alone.abs().max()


@pytest.mark.parametrize("max_iter", [1, 2, 13])
def test_max_iter(max_iter):
    for shape in ((20, 30), (140, 150)):
        matrix = textured(*shape)
        expected = plain_parts(matrix.numpy(), max_iter)
        for part, plain in zip(low_rank_and_sparse(matrix, max_iter), expected, strict=True):
            assert distance(part, plain, matrix) < 1e-4


def test_synthetic_parts_are_recovered():
    low_rank = random(160, 3, seed=1) @ random(3, 200, seed=2)
    sparse = torch.where(random(160, 200, seed=3) < 0.05, 5 * random(160, 200, seed=4), 0.0)
    found = low_rank_and_sparse(low_rank + sparse)
    assert torch.linalg.matrix_norm(found[0] - low_rank) < 1e-4 * torch.linalg.matrix_norm(low_rank)
    assert torch.linalg.matrix_norm(found[1] - sparse) < 1e-4 * torch.linalg.matrix_norm(sparse)


@pytest.mark.parametrize("size", [20, 140])
def test_items_are_independent(size):
    matrices = torch.stack([10.0 ** (3 * seed) * textured(size, size + 5, 2 + seed, seed=seed) for seed in range(3)])
    together = low_rank_and_sparse(matrices.float())
    for item in range(3):
        alone = low_rank_and_sparse(matrices[item].float())
        for part, other in zip(together, alone, strict=True):
            assert (part[item] - other).abs().max() <= 1e-5 * other.abs().max()
    spoiled = matrices.clone()
    spoiled[1, 3, 3] = torch.nan
    for part, other in zip(low_rank_and_sparse(spoiled), low_rank_and_sparse(matrices), strict=True):
        assert part[1].isnan().all()
        assert torch.equal(part[::2], other[::2])


@pytest.mark.parametrize("size", [10, 140])
@pytest.mark.parametrize("level", [1e-30, 1e30])
def test_silence_and_level(size, level):
    silence = torch.zeros(2, size, size + 3, requires_grad=True)
    low_rank, sparse = low_rank_and_sparse(silence)
    assert (low_rank == 0).all()
    assert (sparse == 0).all()
    (low_rank + 2 * sparse).sum().backward()
    assert silence.grad.isfinite().all()
    matrix = textured(size, size + 3).float()
    for part, other in zip(low_rank_and_sparse(matrix * level), low_rank_and_sparse(matrix), strict=True):
        assert torch.allclose(part / level, other, atol=1e-5)


@pytest.mark.parametrize(("shape", "max_iter"), [((3, 4), 1), ((3, 4), 9), ((4, 3), 9), ((4, 4), 5), ((3, 4), 25)])
def test_the_gradient_is_exact(shape, max_iter):
    matrix = torch.stack([textured(*shape, 2, seed=seed) for seed in (1, 2)]).requires_grad_()
    fast = max_iter > 9
    assert torch.autograd.gradcheck(lambda x: low_rank_and_sparse(x, max_iter), matrix, fast_mode=fast)


def test_the_gradient_for_repeated_singular_values():
    """A circulant matrix has its singular values in pairs."""
    row = random(6)
    matrix = torch.stack([row.roll(shift) for shift in range(6)])
    values = torch.linalg.svdvals(matrix)
    assert (values[1:].diff().abs() < 1e-12).any()
    assert torch.autograd.gradcheck(lambda x: low_rank_and_sparse(x, 8), matrix.requires_grad_(), fast_mode=True)


class PeakMemory(TorchDispatchMode):
    """Tracks the memory of all tensors, and its peak."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        given = {id(tensor) for tensor in tree_leaves((args, kwargs))}
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor._base is None and id(tensor) not in given:
                self.now += tensor.nbytes
                self.peak = max(self.peak, self.now)
                weakref.finalize(tensor, self.drop, tensor.nbytes)
        return result

    def drop(self, size):
        self.now -= size


def peak_memory_of_backward(max_iter):
    """Peak memory of backward, in units of the matrix."""
    matrix = textured(6, 40)[None]
    matrix = matrix / torch.linalg.matrix_norm(matrix, 2)
    low_rank, sparse, count = low_rank_module._alternate(matrix, 0.1 * matrix, max_iter, 0.0)
    assert count == max_iter
    with PeakMemory() as memory:
        low_rank_module._Backward(matrix, count, sparse, low_rank).run(0.1 * matrix)
    return memory.peak / matrix.nbytes


def test_backward_takes_no_more_memory_for_more_iterations():
    few, many = peak_memory_of_backward(20), peak_memory_of_backward(200)
    assert few > 15  # eight checkpoints of two matrices
    assert many < 1.5 * few


def test_only_the_matrix_is_saved_for_backward():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.nbytes) or tensor, lambda x: x):
        low_rank_and_sparse(textured(6, 40).requires_grad_(), 20, 0.0)
        few = sum(kept)
        low_rank_and_sparse(textured(6, 40).requires_grad_(), 200, 0.0)
    assert sum(kept) == 2 * few > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
        ({"tol": -1.0}, r"tol must be at least 0, got -1\.0"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        low_rank_and_sparse(torch.ones(3, 3), **arguments)
