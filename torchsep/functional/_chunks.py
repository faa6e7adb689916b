"""Blockwise processing in cache: block sizes per device, and functions applied to blocks of frames."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["BlockSize", "empty_frames", "frame_chunks", "map_frames"]


class BlockSize(NamedTuple):
    """The number of elements to process at a time, chosen to fit a CPU's cache or an accelerator's memory.

    Args:
        cpu: elements on a CPU.
        accelerator: elements on any other device.
    """

    cpu: int
    accelerator: int

    def on(self, device: torch.device) -> int:
        """The number of elements for a device.

        Example:
            >>> BlockSize(cpu=1 << 18, accelerator=1 << 26).on(torch.device("cpu"))
            262144
        """
        return self.cpu if device.type == "cpu" else self.accelerator


# A few intermediate results of this size fit the cache.
_BLOCK = BlockSize(cpu=1 << 18, accelerator=1 << 26)


def map_frames(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """The result of a function that processes every frame (index of the last axis) independently.

    Without gradient it is applied to blocks of frames, so that intermediate results stay in cache instead of having the
    size of whole spectrograms. With gradient, or under the compiler, it is applied once to the whole tensors.

    Args:
        function: function of the tensors, whose result has the same number of frames.
        tensors: tensors with the same number of frames.

    Example:
        >>> map_frames(torch.maximum, torch.tensor([1.0, 4.0]), torch.tensor([2.0, 3.0]))
        tensor([2., 4.])
    """
    chunks = frame_chunks(*tensors)
    if chunks is None:
        return function(*tensors)
    whole: Tensor | None = None
    for chunk in chunks:
        result = function(*(tensor[..., chunk] for tensor in tensors))
        if whole is None:
            whole = empty_frames(tensors[0], (*result.shape[:-1], tensors[0].shape[-1]), result.dtype)
        whole[..., chunk] = result
    return function(*tensors) if whole is None else whole


def frame_chunks(*tensors: Tensor) -> list[slice] | None:
    """Slices of frames that fit the cache; None if the tensors must or can be processed as a whole."""
    frames = tensors[0].shape[-1]
    size = max(tensor.numel() for tensor in tensors)
    limit = _BLOCK.on(tensors[0].device)
    recorded = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    if recorded or size <= limit or torch.compiler.is_compiling():
        return None
    count = max(1, limit * frames // size)
    return [slice(first, first + count) for first in range(0, frames, count)]


def empty_frames(like: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """An uninitialised tensor with the memory layout of another: bins adjacent if they are adjacent there."""
    if like.dim() > 1 and like.mT.is_contiguous():
        return like.new_empty(*shape[:-2], shape[-1], shape[-2], dtype=dtype).mT
    return like.new_empty(shape, dtype=dtype)
