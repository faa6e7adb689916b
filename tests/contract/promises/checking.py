"""Registration of promises, and their assertions, whose messages name the violated rule."""

import copy
import math
import re
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest
import torch
from contract.case import Case
from torch import Tensor

from torchsep import Separator

PROMISES: dict[str, Callable[[Case, torch.device], None]] = {}
PARAMETERS = []


def promise(function=None, *, slow=False):
    if function is None:
        return lambda function: promise(function, slow=slow)
    name = function.__name__.removeprefix("promise_")
    PROMISES[name] = function
    PARAMETERS.append(pytest.param(function, id=name, marks=[pytest.mark.slow] if slow else []))
    return function


def run(separator: Separator, inputs, change=lambda tensor: tensor) -> Tensor:
    mixture, required = inputs
    return separator(change(mixture), **{name: change(tensor) for name, tensor in required.items()})


def gradients(separator: Separator, inputs, change=lambda tensor: tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The estimates, and the gradients of their weighted sum for inputs and parameters."""
    mixture, required = inputs
    leaves = {
        name: change(tensor).clone().requires_grad_() for name, tensor in {"mixture": mixture, **required}.items()
    }
    estimates = separator(**leaves)
    generator = torch.Generator().manual_seed(9)
    weights = torch.randn(estimates.shape, generator=generator, dtype=torch.float64).to(estimates)
    leaves |= dict(separator.named_parameters())
    grads = torch.autograd.grad((estimates * weights).sum(), list(leaves.values()), allow_unused=True)
    return estimates.detach(), dict(zip(leaves, grads, strict=True))


def assert_near(actual: Tensor, expected: Tensor, relative: float, rule: str) -> None:
    assert actual.shape == expected.shape, f"{rule}: shapes differ"
    error = (actual.double() - expected.double()).abs().max().item()
    peak = expected.abs().max().item()
    assert error <= relative * peak, f"{rule}: off by {error:.3g} of {peak:.3g}"


def assert_finite(grads: Mapping[str, Tensor | None]) -> None:
    for name, grad in grads.items():
        assert grad is None or grad.isfinite().all(), f"gradient of {name} must be finite"


@contextmanager
def refused(rule: str, match: str) -> Iterator[None]:
    """Check that the block raises a ValueError with a matching message."""
    try:
        yield
    except ValueError as error:
        if not re.search(match, str(error)):
            pytest.fail(f"{rule} must be refused with a message that matches {match}, got {error}")
    else:
        pytest.fail(f"{rule} must be refused")


def without(tensor: Tensor, index) -> Tensor:
    """A copy with a part set to zero; the index is for the axes (batch, ..., channel, time)."""
    changed = tensor.clone()
    changed[index] = 0.0
    return changed


def nudge(separator: Separator) -> Separator:
    """Change all parameters, as training does."""
    with torch.no_grad():
        for parameter in separator.parameters():
            parameter.add_(0.1)
    return separator


def snapshot(separator: Separator) -> list:
    return [copy.deepcopy({k: v for k, v in vars(module).items() if k != "_modules"}) for module in separator.modules()]


def same(first, second) -> bool:
    if isinstance(first, Tensor):
        return isinstance(second, Tensor) and torch.equal(first, second)
    if isinstance(first, Mapping):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, weakref.ref):  # equality would compare the referents
        return first is second
    return bool(first == second)


def same_config(first, second, relative: float) -> bool:
    if isinstance(first, Mapping):
        return first.keys() == second.keys() and all(same_config(first[key], second[key], relative) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(
            same_config(*pair, relative) for pair in zip(first, second, strict=True)
        )
    if isinstance(first, float):
        return math.isclose(first, second, rel_tol=relative)
    return type(first) is type(second) and first == second
