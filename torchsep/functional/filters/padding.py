"""Padding of an axis by any number of elements, with the boundary modes of scipy.ndimage."""

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_choice

__all__ = ["BOUNDARY_MODES", "check_values", "pad", "source_positions"]

BOUNDARY_MODES = ("reflect", "mirror", "nearest", "wrap", "constant")


def pad(
    x: Float[Tensor, "*any"], before: int, after: int, dim: int = -1, mode: str = "reflect", cval: float = 0.0
) -> Float[Tensor, "*any"]:
    """A tensor padded along an axis by any number of elements at both ends; modes as for :func:`median_filter`.

    Example:
        >>> pad(torch.tensor([1.0, 2.0]), 3, 1, mode="mirror")
        tensor([2., 1., 2., 1., 2., 1.])
    """
    check_choice(mode, BOUNDARY_MODES, "mode")
    source = source_positions(x.shape[dim], -before, x.shape[dim] + after, mode, x.device)
    padded = x.index_select(dim, source.clamp(min=0))
    if mode == "constant":
        outside = (source < 0).view(-1, *[1] * (x.dim() - 1 - dim % x.dim()))
        padded = padded.masked_fill(outside, cval)
    return padded


def check_values(x: Tensor, dim: int) -> None:
    """Raise unless a tensor is floating point and not empty along an axis."""
    if not x.is_floating_point():
        raise ValueError(f"x must be floating point, got {x.dtype}")
    if x.dim() == 0 or x.shape[dim] == 0:
        raise ValueError(f"x must have elements along axis {dim}, got shape {tuple(x.shape)}")


def source_positions(length: int, start: int, stop: int, mode: str, device: torch.device) -> Tensor:
    """The index of the element at each position from start to stop; -1 for the constant."""
    position = torch.arange(start, stop, device=device)
    if mode == "nearest":
        return position.clamp(0, length - 1)
    if mode == "wrap":
        return position % length
    if mode == "reflect":
        position = position % (2 * length)
        return torch.where(position < length, position, 2 * length - 1 - position)
    if mode == "mirror":
        period = max(2 * length - 2, 1)
        position = position % period
        return torch.where(position < length, position, period - position)
    return torch.where((position < 0) | (position >= length), -1, position)
