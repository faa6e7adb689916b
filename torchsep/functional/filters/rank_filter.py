"""Median, rank, maximum and minimum filters along one axis, with the boundary modes of scipy.ndimage.

All are cases of :func:`rank_filter`, computed by a comparator network on blocks that stay in cache; the tensor of all
windows is never formed.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_choice, check_integer
from torchsep.functional._chunks import BlockSize
from torchsep.functional._comparator_network import run_network, sliding_network
from torchsep.functional._custom_ops import operator, register_gradient
from torchsep.functional.filters.padding import BOUNDARY_MODES, check_values, source_positions

__all__ = ["maximum_filter", "median_filter", "minimum_filter", "rank_filter"]


# Elements of a block: a few blocks must fit the last-level cache of a processor, or the memory of a device.
_BLOCK = BlockSize(cpu=1 << 21, accelerator=1 << 26)


def median_filter(
    x: Float[Tensor, "*any"], size: int, dim: int = -1, mode: str = "reflect", cval: float = 0.0
) -> Float[Tensor, "*any"]:
    """The median of each element and its neighbours along one axis.

    The window of element ``i`` extends from ``i - size // 2`` to ``i + (size - 1) // 2``. For an even size the upper
    of the two middle values is returned. Structures shorter than half the window are removed; edges are preserved.

    Args:
        x: values; NaN propagates to all windows that contain it.
        size: length of the window.
        dim: axis to filter.
        mode: boundary mode: ``reflect`` (d c b a | a b c d | d c b a), ``mirror`` (d c b | a b c d |
            c b a), ``nearest`` (a a a | a b c d | d d d), ``wrap`` (b c d | a b c d | a b c) or ``constant``.
        cval: value beyond the ends for ``constant``.

    Raises:
        ValueError: if the size is less than one, the mode unknown, or the axis empty.

    Gradient:
        Exact: it goes to the selected element, the first one of equal elements. One index of one or two bytes per
        output is saved for backward.

    Example:
        >>> median_filter(torch.tensor([1.0, 9.0, 2.0, 3.0]), 3)
        tensor([1., 2., 3., 3.])
    """
    return rank_filter(x, size, size // 2, dim, mode, cval)


def maximum_filter(
    x: Float[Tensor, "*any"], size: int, dim: int = -1, mode: str = "reflect", cval: float = 0.0
) -> Float[Tensor, "*any"]:
    """The maximum of each element and its neighbours along one axis; arguments as for :func:`median_filter`."""
    return rank_filter(x, size, size - 1, dim, mode, cval)


def minimum_filter(
    x: Float[Tensor, "*any"], size: int, dim: int = -1, mode: str = "reflect", cval: float = 0.0
) -> Float[Tensor, "*any"]:
    """The minimum of each element and its neighbours along one axis; arguments as for :func:`median_filter`."""
    return rank_filter(x, size, 0, dim, mode, cval)


def rank_filter(
    x: Float[Tensor, "*any"], size: int, rank: int, dim: int = -1, mode: str = "reflect", cval: float = 0.0
) -> Float[Tensor, "*any"]:
    """The element of a given rank, from 0 for the minimum, among each element and its neighbours along one axis.

    Arguments and gradient as for :func:`median_filter`.

    Example:
        >>> rank_filter(torch.tensor([1.0, 9.0, 2.0, 3.0]), size=3, rank=2)
        tensor([9., 9., 9., 3.])
    """
    check_integer(size, "size", at_least=1)
    check_integer(rank, "rank", at_least=0)
    if rank >= size:
        raise ValueError(f"rank must be less than size={size}, got {rank}")
    check_choice(mode, BOUNDARY_MODES, "mode")
    check_values(x, dim)
    filtered: Tensor = _rank_filter(x, size, rank, dim % x.dim(), mode, cval)
    return filtered


def _dense(x: Tensor, dim: int) -> Tensor:
    """The tensor in a memory layout in which :func:`_rows_first` is a view, without a copy if possible."""
    spectrogram_like = x.dim() > 1 and dim >= x.dim() - 2 and x.mT.is_contiguous()
    return x if spectrogram_like else x.contiguous()


def _rows_first(x: Tensor, dim: int) -> Tensor:
    """A view ``(filtered axis, axes before it, axes after it)`` of a tensor from :func:`_dense`."""
    if not x.is_contiguous():
        x, dim = x.mT, 2 * x.dim() - 3 - dim
    return x.view(math.prod(x.shape[:dim]), x.shape[dim], math.prod(x.shape[dim + 1 :])).movedim(1, 0)


def _blocks(rows: Tensor) -> Iterator[tuple[slice, slice]]:
    """Slices of the last two axes, sized so that a block stays in cache."""
    length, leading, last = rows.shape
    columns = max(1, _BLOCK.on(rows.device) // length)
    together = max(1, columns // max(last, 1))
    for first in range(0, leading, together):
        for column in range(0, last, columns):
            yield slice(first, first + together), slice(column, column + columns)


@operator(lambda x, size, rank, dim, mode, cval: torch.empty_like(_dense(x, dim)))  # noqa: ARG005
def _rank_filter(x: Tensor, size: int, rank: int, dim: int, mode: str, cval: float) -> Tensor:
    network = sliding_network(size, rank)
    width = network.num_inputs
    x = _dense(x, dim)
    filtered = torch.empty_like(x)
    source_rows, target_rows = _rows_first(x, dim), _rows_first(filtered, dim)
    length = source_rows.shape[0]
    tiles = -(-length // width)
    # Rows in the order of the network's inputs: every width-th element, from the first, from the second, ...
    before = size // 2
    source = source_positions(length, -before, (tiles + network.halo) * width - before, mode, x.device)
    source = source.view(-1, width).T.reshape(-1)
    outside = (source < 0).nonzero().squeeze(1)
    source = source.clamp(min=0)
    for block in _blocks(source_rows):
        values = source_rows[:, *block].flatten(1).contiguous().index_select(0, source)
        values[outside] = cval
        outputs = run_network(network, list(values.view(width, tiles + network.halo, -1)), tiles)
        target = target_rows[:, *block]
        target.copy_(torch.stack(outputs, dim=1).flatten(0, 1)[:length].view(target.shape))
    return filtered


def _offsets_like(x: Tensor, size: int, dim: int) -> Tensor:
    """An uninitialised tensor for an offset in each window."""
    dtype = torch.uint8 if size <= 256 else torch.int16 if size <= 2**15 else torch.int32
    return torch.empty_like(_dense(x, dim), dtype=dtype)


@operator(lambda x, chosen, size, dim, mode, cval: _offsets_like(x, size, dim))  # noqa: ARG005
def _locate_in_window(x: Tensor, chosen: Tensor, size: int, dim: int, mode: str, cval: float) -> Tensor:
    """The offset in each window of the first element equal to the chosen value; 0 if none is (NaN)."""
    x = _dense(x, dim)
    offset = _offsets_like(x, size, dim)
    rows, chosen_rows, offset_rows = _rows_first(x, dim), _rows_first(chosen, dim), _rows_first(offset, dim)
    length = rows.shape[0]
    source = source_positions(length, -(size // 2), length + (size - 1) // 2, mode, x.device)
    outside = (source < 0).nonzero().squeeze(1)
    for block in _blocks(rows):
        values = rows[:, *block].flatten(1).contiguous().index_select(0, source.clamp(min=0))
        values[outside] = cval
        wanted = chosen_rows[:, *block].flatten(1).contiguous()
        found = torch.zeros_like(wanted, dtype=offset.dtype)
        for k in range(size - 1, 0, -1):
            found.masked_fill_(values[k : k + length] == wanted, k)
        found.masked_fill_(values[:length] == wanted, 0)
        offset_rows[:, *block] = found.view_as(offset_rows[:, *block])
    return offset


@operator(lambda gradient, offset, size, dim, mode: torch.empty_like(offset, dtype=gradient.dtype))  # noqa: ARG005
def _scatter_from_window(gradient: Tensor, offset: Tensor, size: int, dim: int, mode: str) -> Tensor:
    """The sum, at each element, of the gradients of the windows that selected it."""
    before = size // 2
    gradient = gradient.contiguous() if offset.is_contiguous() else gradient.mT.contiguous().mT
    scattered = torch.empty_like(gradient)
    rows, offset_rows, target_rows = (_rows_first(t, dim) for t in (gradient, offset, scattered))
    length = rows.shape[0]
    source = source_positions(length, -before, length + (size - 1) // 2, mode, gradient.device)
    beyond = torch.cat((source[:before], source[before + length :]))
    known = (beyond >= 0).nonzero().squeeze(1)
    for block in _blocks(rows):
        values = rows[:, *block].flatten(1).contiguous()
        offsets = offset_rows[:, *block].flatten(1)
        padded = values.new_zeros(length + size - 1, values.shape[1])
        for k in range(size):
            padded[k : k + length] += torch.where(offsets == k, values, 0.0)
        total = padded[before : before + length]
        edges = torch.cat((padded[:before], padded[before + length :]))
        total.index_add_(0, beyond[known], edges[known])
        target_rows[:, *block] = total.view_as(target_rows[:, *block])
    return scattered


def _setup(ctx: Any, inputs: tuple[Tensor, int, int, int, str, float], output: Tensor) -> None:
    x, size, _, dim, mode, cval = inputs
    ctx.window = size, dim, mode
    ctx.save_for_backward(_locate_in_window(x, output, size, dim, mode, cval))


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None, None]:
    (offset,) = ctx.saved_tensors
    return _scatter_from_window(gradient, offset, *ctx.window), None, None, None, None, None


register_gradient(_rank_filter, _setup, _backward)
