"""Signals brought to one level."""

import torch
from torch import Tensor

__all__ = ["level_of", "log_level"]

_FLOOR = 1e-3  # 60 dB below the level


def level_of(signal: Tensor) -> Tensor:
    r"""The root mean square of each item, with its axes kept, to divide by; one for silence.

    .. math::
        \sqrt{\frac{1}{n} \sum_i x_i^2}

    Args:
        signal: ``(B, ...)``, items of any shape; their largest values are taken out before squaring, so that nothing
            overflows.

    Gradient:
        Exact; zero for silence.

    Example:
        >>> level_of(torch.tensor([[3.0, -3.0], [0.0, 0.0]]))
        tensor([[3.],
                [1.]])
    """
    axes = tuple(range(1, signal.dim()))
    largest = signal.detach().abs().amax(axes, keepdim=True)
    silent = largest == 0
    scale = largest.masked_fill(silent, 1.0)
    squares = (signal / scale).square().mean(axes, keepdim=True)
    return squares.masked_fill(silent, 1.0).sqrt() * scale


def log_level(magnitude: Tensor) -> Tensor:
    r"""Magnitudes on a logarithmic scale, :math:`\log_{10}(x + 10^{-3})`, from -3 for silence.

    Args:
        magnitude: of a root mean square of one.

    Example:
        >>> log_level(torch.tensor([0.0, 0.999]))
        tensor([-3.,  0.])
    """
    return torch.log10(magnitude + _FLOOR)
