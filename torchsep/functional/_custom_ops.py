"""Operators of the library's own, which torch sees as one step: in a graph that it compiles, and in backward."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch

__all__ = ["operator", "register_gradient"]

Function = TypeVar("Function", bound=Callable[..., Any])

_LIBRARY = torch.library.Library("torchsep", "FRAGMENT")


def operator(fake: Callable[..., Any]) -> Callable[[Function], Function]:
    """Make a function of tensors and plain values, with type hints, the operator ``torchsep::<its name>``.

    ``torch.library.custom_op`` does the same, but imports the compiler at the first call, which takes a second.

    Args:
        fake: a function of the same arguments that makes empty outputs of the right shapes, dtypes and strides.
    """

    def define(function: Function) -> Function:
        name = function.__name__.lstrip("_")
        _LIBRARY.define(name + torch.library.infer_schema(function, mutates_args=()))
        _LIBRARY.impl(name, function, "CompositeExplicitAutograd")
        torch.library.register_fake(f"torchsep::{name}", fake, lib=_LIBRARY)
        called: Function = getattr(torch.ops.torchsep, name)
        return called

    return define


def register_gradient(function: Callable[..., Any], setup: Callable[..., None], backward: Callable[..., Any]) -> None:
    """Give an operator its backward pass, with what is kept for it."""
    torch.library.register_autograd(
        f"torchsep::{function.__name__.lstrip('_')}", backward, setup_context=setup, lib=_LIBRARY
    )
