"""Learnable hyper-parameters of classical methods."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torchsep.checks import check_number

__all__ = ["Interval", "install"]

_MARGIN = 1e-6  # relative distance from a bound


@dataclass(frozen=True)
class Interval:
    """The interval of a hyper-parameter, and the mapping from an unconstrained parameter to it.

    Args:
        low: lower bound; a learned value stays above it.
        high: upper bound; a learned value stays below it.
        pairs: whether a pair of values is also allowed.
    """

    low: float
    high: float = math.inf
    pairs: bool = False

    def check(self, value: object, name: str) -> None:
        """Raise unless a number, or every number of a pair, is in the interval."""
        for number in value if self.pairs and isinstance(value, Sequence) and not isinstance(value, str) else [value]:
            check_number(number, name, at_least=self.low, at_most=self.high)

    def to_free(self, value: float | Sequence[float], name: str) -> Tensor:
        """The unconstrained parameter of a value."""
        numbers = [float(number) for number in value] if isinstance(value, Sequence) else [float(value)]
        if not all(self.low < number < self.high for number in numbers):
            bounds = f"above {self.low:g}" + ("" if math.isinf(self.high) else f" and below {self.high:g}")
            raise ValueError(f"{name} must be {bounds} to be trainable, got {value!r}")
        free = [self._free(number) for number in numbers]
        return torch.tensor(free if isinstance(value, Sequence) else free[0], device=torch.get_default_device())

    def _free(self, number: float) -> float:
        above = number - self.low
        if math.isinf(self.high):
            return above + math.log(-math.expm1(-above))  # the inverse of softplus, without overflow
        return math.log(above) - math.log(self.high - number)  # the inverse of sigmoid

    def from_free(self, free: Tensor) -> Tensor:
        """The value of an unconstrained parameter: softplus above a lower bound, or sigmoid between two bounds."""
        # Never at a bound, where the gradient vanishes and the config would be rejected.
        if math.isinf(self.high):
            return self.low + nn.functional.softplus(free).clamp(min=_MARGIN * max(1.0, abs(self.low)))
        return self.low + (self.high - self.low) * free.sigmoid().clamp(_MARGIN, 1.0 - _MARGIN)


def install(kind: type, name: str) -> None:
    """Make an attribute of a separator class a learnable hyper-parameter, checked by its ``trainable_parameters``.

    Its value is the one that was set, or, if its name is in the separator's ``trainable``, a tensor computed from the
    unconstrained parameter ``free_<name>``.
    """

    def read(separator: Any) -> Any:
        free = separator._parameters.get(f"free_{name}")  # noqa: SLF001 - attribute access would recurse
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
