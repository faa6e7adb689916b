"""Checks shared by all losses."""

import torch
from torch import Tensor

__all__ = ["check_pair", "silent"]


def check_pair(estimates: Tensor, truths: Tensor, axes: int, name: str = "sources") -> None:
    """Raise unless both tensors are floating point and have the same shape, with at least ``axes`` axes."""
    wanted, got = tuple(truths.shape), tuple(estimates.shape)
    if got != wanted:
        raise ValueError(f"estimates must have the shape of {name}, {wanted}, got {got}")
    if len(got) < axes:
        raise ValueError(f"estimates must have at least {axes} axes, got shape {got}")
    for argument, tensor in (("estimates", estimates), (name, truths)):
        if not tensor.is_floating_point():
            raise ValueError(f"{argument} must be floating point, got {tensor.dtype}")


def silent(energy: Tensor) -> Tensor:
    """Mask of energies that are zero, or so small that the energy times machine epsilon squared underflows."""
    limits = torch.finfo(energy.dtype)
    return energy < limits.tiny / limits.eps**2
