"""Preparation of samples for arithmetic: precision and mean."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["at_least_single", "subtract_mean"]


def at_least_single(tensor: Tensor) -> Tensor:
    """Convert half-precision tensors, as of stored samples or mixed-precision training, to single precision."""
    return tensor.float() if tensor.dtype in {torch.float16, torch.bfloat16} else tensor


def subtract_mean(signals: Float[Tensor, "*any T"]) -> Float[Tensor, "*any T"]:
    """Signals with the mean over time subtracted; a constant signal becomes exactly zero.

    Example:
        >>> subtract_mean(torch.full((44100,), 0.7)).any()
        tensor(False)
    """
    # In double precision, since the rounding error of the mean would remain as a signal.
    return signals - signals.mean(-1, keepdim=True, dtype=torch.float64).to(signals.dtype)
