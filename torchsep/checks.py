"""Argument checks shared by constructors and calls: ``<argument> must <rule>, got <value>``."""

import difflib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import FakeTensor

__all__ = [
    "check_boolean",
    "check_choice",
    "check_integer",
    "check_mixture",
    "check_number",
    "check_pair",
    "check_required",
    "has_values",
    "nearest",
]


def nearest(word: str, known: Iterable[str]) -> str:
    """The closest known word to a mistyped one, as a question to append to a message; empty if none is close.

    Example:
        >>> nearest("kernelsize", ["kernel_size", "power"])
        '; did you mean kernel_size?'
    """
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {found[0]}?" if found else ""


def check_boolean(value: object, argument: str) -> None:
    """Raise unless a value is a boolean.

    Example:
        >>> check_boolean("no", "bidirectional")
        Traceback (most recent call last):
        ...
        ValueError: bidirectional must be True or False, got 'no'
    """
    if not isinstance(value, bool):
        raise ValueError(f"{argument} must be True or False, got {value!r}")


def check_choice(value: object, choices: Collection[str], argument: str) -> None:
    """Raise unless a value is one of the choices.

    Example:
        >>> check_choice("sofd", ("soft", "binary"), "mask_type")
        Traceback (most recent call last):
        ...
        ValueError: mask_type must be one of soft, binary, got 'sofd'; did you mean soft?
    """
    if not (isinstance(value, str) and value in choices):
        hint = nearest(value, choices) if isinstance(value, str) else ""
        raise ValueError(f"{argument} must be one of {', '.join(choices)}, got {value!r}{hint}")


def check_integer(value: object, argument: str, *, at_least: int) -> None:
    """Raise unless a value is an integer not below a minimum."""
    if type(value) is bool or not isinstance(value, Integral):
        raise ValueError(f"{argument} must be an integer, got {value!r}")
    if value < at_least:
        raise ValueError(f"{argument} must be at least {at_least}, got {value}")


def check_number(
    value: object,
    argument: str,
    *,
    at_least: float = -math.inf,
    above: float = -math.inf,
    at_most: float = math.inf,
    below: float = math.inf,
) -> None:
    """Raise unless a value is a finite real number within bounds.

    Example:
        >>> check_number(-1.0, "power", above=0.0)
        Traceback (most recent call last):
        ...
        ValueError: power must be above 0, got -1.0
    """
    if type(value) is bool or not isinstance(value, Real):
        raise ValueError(f"{argument} must be a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:  # an integer too large for a float
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{argument} must be finite, got {value!r}")
    if number < at_least:
        raise ValueError(f"{argument} must be at least {at_least:g}, got {value!r}")
    if number <= above:
        raise ValueError(f"{argument} must be above {above:g}, got {value!r}")
    if number > at_most:
        raise ValueError(f"{argument} must be at most {at_most:g}, got {value!r}")
    if number >= below:
        raise ValueError(f"{argument} must be below {below:g}, got {value!r}")


def check_pair(value: Any, argument: str) -> tuple[Any, Any]:
    """The two values of a pair; raise for anything else.

    Example:
        >>> check_pair([1, 2], "num_bins")
        (1, 2)
    """
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
        raise ValueError(f"{argument} must be a pair, got {value!r}")
    return value[0], value[1]


def has_values(tensor: Tensor) -> bool:
    """Whether a tensor has values, or will have them in a compiled graph: not one of shapes only.

    Example:
        >>> has_values(torch.zeros(3)), has_values(torch.zeros(3, device="meta"))
        (True, False)
    """
    return torch.compiler.is_compiling() or not (tensor.is_meta or isinstance(tensor, FakeTensor))


# A mixture with more channels than this, and than samples, has its axes exchanged.
_MANY_CHANNELS = 32


def check_mixture(mixture: Tensor, channels: int | None = None, *, may_be_empty: bool = False) -> None:
    """Raise unless a tensor is a mixture ``(B, C, T)`` or ``(C, T)`` with at least one finite item.

    Args:
        mixture: what is checked.
        channels: required number of channels; None for any.
        may_be_empty: whether a batch without items is allowed.

    Example:
        >>> check_mixture(torch.zeros(16000))
        Traceback (most recent call last):
        ...
        ValueError: mixture must have shape (B, C, T) or (C, T), got (16000,)
    """
    if not isinstance(mixture, Tensor):
        raise TypeError(f"mixture must be a torch.Tensor, got {type(mixture).__name__}; convert it by torch.as_tensor")
    _check_unmapped(mixture, "mixture")
    shape = tuple(mixture.shape)
    if mixture.dim() not in {2, 3}:
        raise ValueError(f"mixture must have shape (B, C, T) or (C, T), got {shape}")
    empty = may_be_empty and len(shape) == 3 and shape[0] == 0
    if 0 in shape[1:] or (0 in shape and not empty):
        raise ValueError(f"mixture must have at least one item, channel and sample, got shape {shape}")
    if not mixture.is_floating_point():
        raise ValueError(f"mixture must be floating point, got {mixture.dtype}; divide integers by full scale")
    if shape[-2] > max(shape[-1], _MANY_CHANNELS):
        raise ValueError(f"mixture must have channels before samples, (B, C, T) or (C, T), got {shape}")
    if channels is not None and shape[-2] != channels:
        raise ValueError(f"mixture must have {channels} channels, got {shape[-2]}")
    if not empty:
        _check_finite(mixture)


def _check_finite(mixture: Tensor) -> None:
    """Raise unless a mixture has a finite item."""
    # Non-finite items of a batch are isolated; a batch without a finite item is an error. A compiled graph cannot raise
    # depending on values.
    if torch.compiler.is_compiling() or not has_values(mixture):
        return
    detached = mixture.detach()
    # Minimum and maximum need no temporary tensor of the mixture's size, unlike magnitudes.
    extremes = torch.stack((detached.amin((-2, -1)), detached.amax((-2, -1))))
    if not extremes.isfinite().all(0).any():
        raise ValueError(f"mixture must have finite samples, got NaN or infinity in shape {tuple(mixture.shape)}")


def _check_unmapped(tensor: Tensor, argument: str) -> None:
    """Raise if a tensor stands for the items of a batch of ``torch.func.vmap``."""
    if torch.compiler.is_compiling():
        return
    functorch = torch._C._functorch  # noqa: SLF001 - there are no public functions
    while functorch.is_functorch_wrapped_tensor(tensor):
        if functorch.is_batchedtensor(tensor):
            rule = "be given as a batch, (B, ...), since separators process batches themselves"
            raise ValueError(f"{argument} must {rule}, got a tensor of torch.func.vmap")
        tensor = functorch.get_unwrapped(tensor)


def check_required(given: Mapping[str, Tensor], names: Collection[str], shape: tuple[int, ...]) -> None:
    """Raise unless the tensors given besides a mixture of that shape are the required ones, ``(B, S, C, T)``."""
    if set(given) != set(names):
        wanted, got = ", ".join(names) or "no tensor", ", ".join(given) or "none"
        raise ValueError(f"a call must be given {wanted} besides the mixture, got {got}")
    for name, tensor in given.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{name} must be a torch.Tensor, got {type(tensor).__name__}; convert it by torch.as_tensor"
            )
        _check_unmapped(tensor, name)
        if tensor.dim() != len(shape) + 1 or (*tensor.shape[:-3], *tensor.shape[-2:]) != shape or tensor.shape[-3] == 0:
            wanted = ("B, " if len(shape) == 3 else "") + "S, C, T"
            raise ValueError(f"{name} must have shape ({wanted}) for mixture {shape}, got {tuple(tensor.shape)}")
        if not tensor.is_floating_point():
            raise ValueError(f"{name} must be floating point, got {tensor.dtype}")
