"""The fast solution compared with a dense solver."""

import pytest
import scipy.linalg
import torch
from scenes import noise

from torchsep.functional.linalg.block_toeplitz import solve_block_toeplitz
from torchsep.metrics.distortion_filters import correlations, fast_length


def matrix(among):
    """The matrix ``(M L, M L)`` of one item, its rows ordered by channel first."""
    rows = [
        [torch.from_numpy(scipy.linalg.toeplitz(among[i, j].detach(), among[j, i].detach())) for j in range(len(among))]
        for i in range(len(among))
    ]
    return torch.cat([torch.cat(row, -1) for row in rows])


def equations(*shape, channels=3, delays=7, others=2):
    references, targets = noise(*shape, channels, 60), noise(*shape, others, 60, seed=1)
    return correlations(references, references, delays), correlations(references, targets, delays)


@pytest.mark.parametrize(("channels", "delays"), [(1, 1), (1, 9), (4, 1), (2, 5), (3, 16)])
def test_it_solves_the_equations(channels, delays):
    among, wanted = equations(channels=channels, delays=delays)
    expected = torch.linalg.solve(matrix(among), wanted.transpose(-1, -2).reshape(channels * delays, -1))
    assert torch.allclose(solve_block_toeplitz(among, wanted).flatten(-2).mT, expected)


def test_items_are_independent():
    among, wanted = equations(2, 3)
    among[0, 1] = torch.nan
    among[1, 0] = 1.0  # no matrix has less rank
    solved = solve_block_toeplitz(among, wanted)
    assert solved[0, 1].isnan().all()
    assert solved[1, 0].isfinite().all()
    for item in ((0, 0), (0, 2), (1, 1), (1, 2)):
        assert torch.allclose(solved[item], solve_block_toeplitz(among[item], wanted[item]), rtol=1e-12)


def test_identical_and_silent_channels():
    references = noise(1, 80)
    several = torch.cat((references, 1e-6 * references, torch.zeros_like(references)))
    targets = torch.nn.functional.pad(references, (2, 0))[:, :80]
    filters = solve_block_toeplitz(correlations(several, several, 4), correlations(several, targets, 4))
    alone = solve_block_toeplitz(correlations(references, references, 4), correlations(references, targets, 4))
    assert torch.allclose(filters[0, 0] + 1e-6 * filters[0, 1], alone[0, 0], atol=1e-6)
    assert torch.equal(filters[0, 2], torch.zeros(4).double())


def test_gradients_are_exact():
    among, wanted = (tensor.requires_grad_() for tensor in equations(2, channels=2, delays=3))
    assert torch.autograd.gradcheck(solve_block_toeplitz, (among, wanted), fast_mode=True)
    assert torch.autograd.gradgradcheck(solve_block_toeplitz, (among, wanted), fast_mode=True)


def test_it_compiles_as_one_graph():
    among, wanted = equations()
    compiled = torch.compile(solve_block_toeplitz, fullgraph=True, backend="eager")
    assert torch.equal(compiled(among, wanted), solve_block_toeplitz(among, wanted))


@pytest.mark.parametrize(("length", "lags"), [(1, 1), (1, 5), (30, 4), (9000, 600), (20000, 3)])
def test_correlations_are_their_sums(length, lags):
    first, second = noise(2, length), noise(3, length, seed=1)
    found = correlations(first, second, lags)
    for lag in {0, 1, lags // 2, lags - 1} & set(range(lags)):
        later = torch.nn.functional.pad(second, (0, lag))[:, lag:]
        assert torch.allclose(found[..., lag], first @ later.mT, atol=1e-9)


@pytest.mark.parametrize("length", [1, 2, 17, 100, 44611, 65536, 65537])
def test_fast_lengths_are_even_and_hardly_longer(length):
    found = fast_length(length)
    assert found % 2 == 0
    assert length <= found <= max(length + 1, 1.125 * length)
    while found % 2 == 0:
        found //= 2
    assert found < 16
