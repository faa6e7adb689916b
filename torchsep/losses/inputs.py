"""What all losses do with what they are given."""

import torch
from torch import Tensor

__all__ = ["at_least_single", "check_pair", "silent"]


def at_least_single(tensor: Tensor) -> Tensor:
    """A tensor in single precision if it was in half, as networks give it where they run in mixed precision."""
    return tensor.float() if tensor.dtype in {torch.float16, torch.bfloat16} else tensor


def check_pair(estimates: Tensor, truths: Tensor, axes: int, name: str = "sources") -> None:
    """Raise unless both have the same shape, of at least so many axes, and floating values."""
    wanted, got = tuple(truths.shape), tuple(estimates.shape)
    if got != wanted:
        raise ValueError(f"estimates must have the shape of {name}, {wanted}, got {got}")
    if len(got) < axes:
        raise ValueError(f"estimates must have at least {axes} axes, got shape {got}")
    for argument, tensor in (("estimates", estimates), (name, truths)):
        if not tensor.is_floating_point():
            raise ValueError(f"{argument} must be floating point, got {tensor.dtype}")


def silent(energy: Tensor) -> Tensor:
    """Where an energy is zero, or so near to it that the precision, squared, of it cannot be told from zero."""
    limits = torch.finfo(energy.dtype)
    return energy < limits.tiny / limits.eps**2
