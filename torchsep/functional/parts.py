"""Pointwise work in parts that stay in cache."""

from collections.abc import Callable

import torch
from jaxtyping import Complex, Float
from torch import Tensor

__all__ = ["in_parts", "magnitude"]

# Elements worked on together: the few intermediate results of so many fit a processor's cache.
_TOGETHER = {"cpu": 1 << 18}
_DEVICE_TOGETHER = 1 << 26


def in_parts(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """The result of a function that treats every frame, the last axis, alike and alone.

    Where no gradient is asked it is applied to some frames at a time, so that its intermediate results take neither
    the time nor the room of whole spectrograms. Where one is, or under the compiler, it is applied as it is.

    Args:
        function: of as many tensors, with a result of as many frames.
        tensors: with the same number of frames.

    Example:
        >>> in_parts(torch.maximum, torch.tensor([1.0, 4.0]), torch.tensor([2.0, 3.0]))
        tensor([2., 4.])
    """
    parts = _parts(*tensors)
    if parts is None:
        return function(*tensors)
    whole: Tensor | None = None
    for part in parts:
        result = function(*(tensor[..., part] for tensor in tensors))
        if whole is None:
            whole = _room(tensors[0], (*result.shape[:-1], tensors[0].shape[-1]), result.dtype)
        whole[..., part] = result
    return function(*tensors) if whole is None else whole


def _parts(*tensors: Tensor) -> list[slice] | None:
    """The frames in groups that stay in cache; None where the work must not be parted, or need not."""
    frames = tensors[0].shape[-1]
    size = max(tensor.numel() for tensor in tensors)
    limit = _TOGETHER.get(tensors[0].device.type, _DEVICE_TOGETHER)
    recorded = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    if recorded or size <= limit or torch.compiler.is_compiling():
        return None
    together = max(1, limit * frames // size)
    return [slice(first, first + together) for first in range(0, frames, together)]


def _room(like: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Room for a result, laid out in memory as a tensor is."""
    if like.dim() > 1 and like.mT.is_contiguous():
        return like.new_empty(*shape[:-2], shape[-1], shape[-2], dtype=dtype).mT
    return like.new_empty(shape, dtype=dtype)


def magnitude(spectrogram: Complex[Tensor, "*any F N"]) -> Float[Tensor, "*any F N"]:
    """The absolute values of a spectrogram, in a fifth of the time that ``abs`` takes where no gradient is asked.

    Args:
        spectrogram: complex values; below 1e-19 in single precision they may count as zero, above 1e19 as infinite.

    Gradient:
        Exact; zero where the value is.

    Example:
        >>> magnitude(torch.tensor([[3.0 + 4.0j, 0.0]]))
        tensor([[5., 0.]])
    """
    parts = _parts(spectrogram)
    if parts is None and spectrogram.requires_grad:
        return spectrogram.abs()  # whose gradient is zero at zero
    if parts is None:
        return (spectrogram.real.square() + spectrogram.imag.square()).sqrt()
    absolute = _room(spectrogram, tuple(spectrogram.shape), spectrogram.real.dtype)
    for part in parts:
        room, real, imaginary = absolute[..., part], spectrogram.real[..., part], spectrogram.imag[..., part]
        torch.square(real, out=room).addcmul_(imaginary, imaginary).sqrt_()
    return absolute
