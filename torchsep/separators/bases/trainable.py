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
        given = torch.as_tensor(value, dtype=torch.float64, device="cpu")
        if not ((given > self.low) & (given < self.high)).all():
            bounds = f"above {self.low:g}" + ("" if math.isinf(self.high) else f" and below {self.high:g}")
            raise ValueError(f"{name} must be {bounds} to be trainable, got {value!r}")
        if math.isinf(self.high):
            above = given - self.low
            free = above + (-(-above).expm1()).log()  # the inverse of softplus, without overflow
        else:
            free = ((given - self.low) / (self.high - self.low)).logit()
        return free.to(torch.get_default_device(), torch.get_default_dtype())

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
