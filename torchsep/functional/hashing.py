"""Pseudo-random initial values by hashing, without a random generator."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["hashed_uniform"]

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)  # odd, 2^64 divided by the golden ratio, as a signed integer
_FACTORS = (0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64))


def hashed_uniform(
    shape: Sequence[int], seed: int, device: torch.device | str | None = None, dtype: torch.dtype = torch.float64
) -> Float[Tensor, "*shape"]:
    """Pseudo-random numbers in [0, 1): a hash of their position and the seed.

    They are the same on every call and device, and can be compiled. In a dtype of lower precision they are those of
    double precision, truncated.

    Args:
        shape: shape of the tensor.
        seed: integer of at most 64 bits.
        device: device of the tensor.
        dtype: floating-point dtype.

    Example:
        >>> hashed_uniform((2, 3), seed=0).round(decimals=4)
        tensor([[0.8833, 0.4315, 0.0264],
                [0.9709, 0.1063, 0.3273]], dtype=torch.float64)

    References:
        Guy L. Steele Jr., Doug Lea, Christine H. Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    state = _hashed(torch.full((), seed, dtype=torch.long, device=device))
    position = torch.arange(1, math.prod(shape) + 1, device=device)
    digits = 1 - round(math.log2(torch.finfo(dtype).eps))
    top = _shifted(_hashed(state + position * _GOLDEN), 64 - digits)
    return (top.to(dtype) * 2.0**-digits).reshape(tuple(shape))


def _hashed(integers: Int[Tensor, "*any"]) -> Int[Tensor, "*any"]:
    """A bijection of the 64-bit integers in which every bit of the output depends on every bit of the input."""
    integers = (integers ^ _shifted(integers, 30)) * _FACTORS[0]
    integers = (integers ^ _shifted(integers, 27)) * _FACTORS[1]
    return integers ^ _shifted(integers, 31)


def _shifted(integers: Int[Tensor, "*any"], by: int) -> Int[Tensor, "*any"]:
    """Logical right shift; the operator of signed integers is an arithmetic shift."""
    return (integers >> by) & ((1 << (64 - by)) - 1)
