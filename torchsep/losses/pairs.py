"""Base class and checks shared by the loss wrappers."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from jaxtyping import Float
from torch import Tensor

__all__ = ["Loss", "OfPairs", "Sources", "check_estimates", "takes_mixture"]

Sources = Float[Tensor, "B S *any"]


class Loss(Protocol):
    """Loss function of estimates and sources; lower is better.

    A pairwise loss maps ``(..., C, T) x 2 -> (...)``, or ``(..., C, F, N) x 2 -> (...)`` for spectrograms, with any
    leading axes. The wrappers turn it into a loss per item, ``(B, S, ...) x 2 -> (B,)``. A loss with an argument
    ``mixture`` receives the mixture as the reference level for silent sources.
    """

    def __call__(self, estimates: Tensor, sources: Tensor, /) -> Tensor:
        """Compute the losses."""
        ...


def takes_mixture(loss: Loss) -> bool:
    """Whether a loss has an argument named ``mixture``."""
    try:
        return "mixture" in inspect.signature(loss).parameters
    except ValueError:  # a built-in function without a signature
        return False


def check_estimates(estimates: Tensor, sources: Tensor, count: int | None = None) -> None:
    """Raise unless there are ``count`` estimates, or one per source if None, of the shape of a source."""
    wanted, got = tuple(sources.shape), tuple(estimates.shape)
    if len(wanted) < 3 or wanted[1] < 1:
        raise ValueError(f"sources must have shape (B, S, ...) with at least one source, got {wanted}")
    needed = (wanted[0], wanted[1] if count is None else count, *wanted[2:])
    if got != needed:
        raise ValueError(f"estimates must have shape {needed} for sources {wanted}, got {got}")


@dataclass(frozen=True)
class OfPairs:
    """Base class of wrappers of a pairwise loss."""

    loss: Loss
    _with_mixture: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not callable(self.loss):
            raise ValueError(f"loss must be a function of (estimates, sources), got {self.loss!r}")
        object.__setattr__(self, "_with_mixture", takes_mixture(self.loss))

    def _pairs(
        self, estimates: Float[Tensor, "*any"], sources: Float[Tensor, "*any"], mixture: Tensor, leading: int = 2
    ) -> Float[Tensor, "*any"]:
        """Loss of each estimate and source pair along the leading axes."""
        loss: Callable[..., Tensor] = self.loss
        losses = loss(estimates, sources, mixture=mixture) if self._with_mixture else loss(estimates, sources)
        wanted, got = tuple(sources.shape[:leading]), tuple(losses.shape)
        if got != wanted:
            raise ValueError(f"loss must return one value for each of {wanted} pairs, got shape {got}")
        return losses
