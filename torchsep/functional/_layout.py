"""Spectrograms as rows of frames, their layout in memory."""

import torch
from torch import Tensor

__all__ = ["empty_like_frames", "frames_first", "in_shape_of"]


def frames_first(x: Tensor) -> Tensor:
    """The tensor as ``(items, N, E)``: a view of a spectrogram whose bins are adjacent, as returned by the STFT."""
    return x[..., None] if x.dim() == 2 else x.mT.flatten(0, -3)


def in_shape_of(rows: Tensor, x: Tensor) -> Tensor:
    """The inverse of :func:`frames_first`, for the shape of a given tensor."""
    return rows[..., 0] if x.dim() == 2 else rows.view(*x.shape[:-2], *rows.shape[1:]).mT


def empty_like_frames(x: Tensor) -> Tensor:
    """An uninitialised tensor of the same shape, with adjacent bins."""
    return in_shape_of(torch.empty_like(frames_first(x), memory_format=torch.contiguous_format), x)
