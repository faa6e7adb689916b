"""Spectrograms as rows of frames, which is how they lie in memory."""

import torch
from torch import Tensor

__all__ = ["frames_first", "in_shape_of", "room_like"]


def frames_first(x: Tensor) -> Tensor:
    """The tensor as ``(items, N, E)``: a view of a spectrogram as transforms make it, whose bins lie side by side."""
    return x[..., None] if x.dim() == 2 else x.mT.flatten(0, -3)


def in_shape_of(rows: Tensor, x: Tensor) -> Tensor:
    """What :func:`frames_first` makes of a tensor, in that tensor's shape."""
    return rows[..., 0] if x.dim() == 2 else rows.view(*x.shape[:-2], *rows.shape[1:]).mT


def room_like(x: Tensor) -> Tensor:
    """Room for a result of a tensor's shape."""
    return in_shape_of(torch.empty_like(frames_first(x), memory_format=torch.contiguous_format), x)
