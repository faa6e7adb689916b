"""What the wrappers share: losses of pairs, and what they are given."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from jaxtyping import Float
from torch import Tensor

__all__ = ["Loss", "OfPairs", "Sources", "check_estimates", "takes_mixture"]

Sources = Float[Tensor, "B S *any"]


class Loss(Protocol):
    """What compares estimates with what they should be, less being better.

    That of pairs takes any leading axes, and keeps them, ``(..., C, T) x 2 -> (...)``, or of spectrograms
    ``(..., C, F, N) x 2 -> (...)``; the wrappers make of it one of items, ``(B, S, ...) x 2 -> (B,)``. To one that has
    an argument ``mixture``, they give by that name what silent sources can be measured by.
    """

    def __call__(self, estimates: Tensor, sources: Tensor, /) -> Tensor:
        """The losses."""
        ...


def takes_mixture(loss: Loss) -> bool:
    """Whether a loss has an argument named ``mixture``."""
    try:
        return "mixture" in inspect.signature(loss).parameters
    except ValueError:  # a built-in function without a signature
        return False


def check_estimates(estimates: Tensor, sources: Tensor, count: int | None = None) -> None:
    """Raise unless estimates are so many, as many as there are sources if None, and each is as a source is."""
    wanted, got = tuple(sources.shape), tuple(estimates.shape)
    if len(wanted) < 3 or wanted[1] < 1:
        raise ValueError(f"sources must have shape (B, S, ...) with at least one source, got {wanted}")
    needed = (wanted[0], wanted[1] if count is None else count, *wanted[2:])
    if got != needed:
        raise ValueError(f"estimates must have shape {needed} for sources {wanted}, got {got}")


@dataclass(frozen=True)
class OfPairs:
    """A wrapper of a loss of pairs."""

    loss: Loss
    _with_mixture: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not callable(self.loss):
            raise ValueError(f"loss must be a function of (estimates, sources), got {self.loss!r}")
        object.__setattr__(self, "_with_mixture", takes_mixture(self.loss))

    def _pairs(
        self, estimates: Float[Tensor, "*any"], sources: Float[Tensor, "*any"], mixture: Tensor, leading: int = 2
    ) -> Float[Tensor, "*any"]:
        """The loss of each estimate with the source in its place, which the leading axes number."""
        loss: Callable[..., Tensor] = self.loss
        losses = loss(estimates, sources, mixture=mixture) if self._with_mixture else loss(estimates, sources)
        wanted, got = tuple(sources.shape[:leading]), tuple(losses.shape)
        if got != wanted:
            raise ValueError(f"loss must give one value for each of {wanted} pairs, got shape {got}")
        return losses
