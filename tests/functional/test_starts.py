"""Hashed numbers against a reference generator in plain integers."""

import pytest
import torch

from torchsep.functional.hashing import hashed_uniform

ALL = (1 << 64) - 1


def mixed(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & ALL
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & ALL
    return z ^ (z >> 31)


@pytest.mark.parametrize("seed", [0, 1, -5, 2**62])
def test_it_is_the_plain_generator(seed):
    state = mixed(seed & ALL)
    expected = [(mixed((state + k * 0x9E3779B97F4A7C15) & ALL) >> 11) * 2.0**-53 for k in range(1, 41)]
    assert hashed_uniform((2, 20), seed).flatten().tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_uniform_below_one_in_every_precision(dtype):
    x = hashed_uniform((100_000,), 3, dtype=dtype)
    assert x.dtype == dtype
    assert x.min() >= 0
    assert x.max() < 1
    exact = hashed_uniform((100_000,), 3)
    assert ((exact - x.double()) >= 0).all()
    assert (exact - x.double()).max() < torch.finfo(dtype).eps
    counts = torch.histc(exact, 50, 0, 1)
    assert ((counts - 2000).square() / 2000).sum() < 90  # chi-squared of 49 degrees of freedom: 85 in a thousandth


def test_seeds_and_neighbours_are_unrelated():
    x = torch.stack([hashed_uniform((20_000,), seed) for seed in (0, 1, 2)])
    others = torch.cat((x[:, :-1], x[:, 1:]))
    assert (torch.corrcoef(others) - torch.eye(6)).abs().max() < 0.03


def test_global_generator_plays_no_part():
    before = torch.get_rng_state()
    assert torch.equal(hashed_uniform((5,), 7), hashed_uniform((5,), 7))
    assert torch.equal(torch.get_rng_state(), before)
    assert hashed_uniform((), 0).shape == ()
    assert hashed_uniform((0, 3), 0).shape == (0, 3)
