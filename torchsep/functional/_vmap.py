"""Calls within ``torch.func.vmap``, computed as a batch."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_pop_interpreter_stack

__all__ = ["as_batch", "is_mapped"]

_functorch = torch._C._functorch  # noqa: SLF001 - there are no public functions


def is_mapped(tensor: Tensor) -> bool:
    """Whether a tensor stands for the items of a batch of the innermost ``torch.func.vmap``."""
    return not torch.compiler.is_compiling() and bool(_functorch.is_batchedtensor(tensor))


def as_batch(function: Callable[..., Tensor], tensors: Sequence[Tensor]) -> Tensor:
    """The result of a function of batches for tensors some of which are mapped; it is mapped too.

    Args:
        function: of tensors with a leading axis for the items of the map.
        tensors: of one item; those that are not mapped are the same for all.
    """
    level = max(_functorch.maybe_get_level(tensor) for tensor in tensors if _functorch.is_batchedtensor(tensor))
    values: list[Tensor | None] = []
    for tensor in tensors:
        mapped = _functorch.is_batchedtensor(tensor) and _functorch.maybe_get_level(tensor) == level
        axis = _functorch.maybe_get_bdim(tensor)
        values.append(_functorch.get_unwrapped(tensor).movedim(axis, 0) if mapped else None)
    count = next(len(value) for value in values if value is not None)
    whole = [
        tensor.expand(count, *tensor.shape) if value is None else value
        for tensor, value in zip(tensors, values, strict=True)
    ]
    with temporarily_pop_interpreter_stack():  # outside of the map
        result = function(*whole)
    wrapped: Tensor = _functorch._add_batch_dim(result, 0, level)  # noqa: SLF001
    return wrapped
