"""Custom torch operators, opaque to the compiler, with their own backward passes."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, TypeVar

import torch

__all__ = ["operator", "register_gradient", "without_autocast"]

Function = TypeVar("Function", bound=Callable[..., Any])

_LIBRARY = torch.library.Library("torchsep", "FRAGMENT")


def operator(fake: Callable[..., Any]) -> Callable[[Function], Function]:
    """Decorator that registers a typed function as the operator ``torchsep::<its name>``.

    ``torch.library.custom_op`` does the same, but imports the compiler at the first call, which takes a second.

    Args:
        fake: function of the same arguments that returns empty outputs with the right shapes, dtypes and strides.
    """

    def define(function: Function) -> Function:
        name = function.__name__.lstrip("_")
        _LIBRARY.define(name + torch.library.infer_schema(function, mutates_args=()))
        _LIBRARY.impl(name, _with_lazy_views(function), "CompositeExplicitAutograd")
        torch.library.register_fake(f"torchsep::{name}", fake, lib=_LIBRARY)
        registered: Function = getattr(torch.ops.torchsep, name)
        return registered

    return define


def _with_lazy_views(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function within which lazily conjugated and negated tensors have their values.

    A compiled graph runs operators with the dispatch keys excluded that apply the conjugation and the negation.
    """

    @wraps(function)
    def call(*arguments: Any) -> Any:
        excluded = torch._C._dispatch_tls_local_exclude_set()  # noqa: SLF001 - there is no public function
        for key in (torch._C.DispatchKey.Conjugate, torch._C.DispatchKey.Negative):  # noqa: SLF001
            excluded = excluded.remove(key)
        included = torch._C._dispatch_tls_local_include_set()  # noqa: SLF001
        with torch._C._ForceDispatchKeyGuard(included, excluded):  # noqa: SLF001
            return function(*arguments)

    return call


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Context in which autocast is disabled on a device; the meta device knows none."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def register_gradient(function: Callable[..., Any], setup: Callable[..., None], backward: Callable[..., Any]) -> None:
    """Register the backward pass of an operator, and the function that saves tensors for it.

    The backward pass keeps its precision if it runs within autocast.
    """

    def in_own_precision(ctx: Any, *gradients: Any) -> Any:
        device = next(gradient.device for gradient in gradients if isinstance(gradient, torch.Tensor))
        with without_autocast(device):
            return backward(ctx, *gradients)

    torch.library.register_autograd(
        f"torchsep::{function.__name__.lstrip('_')}", in_own_precision, setup_context=setup, lib=_LIBRARY
    )
