"""Hyper-parameters of classical methods that can be learned."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torchsep.checks import check_number

__all__ = ["Interval", "install"]

_ROOM = 1e-6  # kept free at a bound, of the interval or of one


@dataclass(frozen=True)
class Interval:
    """What a hyper-parameter may be, and how a free parameter is mapped into it while it is learned.

    Args:
        low: least value; a value that is learned stays above it.
        high: largest value; a value that is learned stays below it.
        pairs: whether a pair of values may stand for one.
    """

    low: float
    high: float = math.inf
    pairs: bool = False

    def check(self, value: object, name: str) -> None:
        """Raise unless a number, or every number of a pair, lies in the interval."""
        for number in value if self.pairs and isinstance(value, Sequence) and not isinstance(value, str) else [value]:
            check_number(number, name, at_least=self.low, at_most=self.high)

    def to_free(self, value: float | Sequence[float], name: str) -> Tensor:
        """The free parameter of a value."""
        given = torch.as_tensor(value, dtype=torch.float64)
        if not ((given > self.low) & (given < self.high)).all():
            bounds = f"above {self.low:g}" + ("" if math.isinf(self.high) else f" and below {self.high:g}")
            raise ValueError(f"{name} must be {bounds} to be trainable, got {value!r}")
        if math.isinf(self.high):
            above = given - self.low
            free = above + (-(-above).expm1()).log()  # the inverse of softplus, without overflow
        else:
            free = ((given - self.low) / (self.high - self.low)).logit()
        return free.to(torch.get_default_dtype())

    def from_free(self, free: Tensor) -> Tensor:
        """The value of a free parameter: softplus above the least value, or a sigmoid between two."""
        # Never quite at a bound, where a value could not be trained further, nor built from its config.
        if math.isinf(self.high):
            return self.low + nn.functional.softplus(free).clamp(min=_ROOM * max(1.0, abs(self.low)))
        return self.low + (self.high - self.low) * free.sigmoid().clamp(_ROOM, 1.0 - _ROOM)


def install(kind: type, name: str) -> None:
    """Make an attribute of a separator class a hyper-parameter, checked by its ``trainable_parameters``.

    It reads as the plain value that was set, or, if its name is in the separator's ``trainable``, as a tensor computed
    from the free parameter ``free_<name>``.
    """

    def read(separator: Any) -> Any:
        free = separator._parameters.get(f"free_{name}")  # noqa: SLF001 - an attribute would recurse into this
        if free is None:
            return separator.__dict__[f"_{name}"]
        return separator.trainable_parameters[name].from_free(free)

    def write(separator: Any, value: float | Sequence[float]) -> None:
        interval = separator.trainable_parameters[name]
        interval.check(value, name)
        separator.__dict__[f"_{name}"] = value
        if name in separator.trainable:
            separator.register_parameter(f"free_{name}", nn.Parameter(interval.to_free(value, name)))

    setattr(kind, name, property(read, write))
