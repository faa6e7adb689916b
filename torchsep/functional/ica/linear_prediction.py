"""Signals without what their past foretells."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["linear_prediction_residual"]

# The power of noise, relative to that of the signals, that a prediction has to reckon with: so that no tone, which its
# past foretells to the last digit, is left to rounding.
_NOISE = 1e-3


def linear_prediction_residual(signals: Float[Tensor, "B C T"], order: int) -> Float[Tensor, "B C T"]:
    r"""What linear prediction from some samples before leaves of signals, :math:`x_t - \sum_k a_k x_{t - k}`.

    All channels of an item have one prediction, that of least error where each is taken at the same level, so that
    sources mixed by gains stay mixed by the same gains. Before its beginning a signal is zero.

    Args:
        signals: of mean zero.
        order: number of samples before; none that a signal does not have.

    Gradient:
        Exact.

    Example:
        >>> linear_prediction_residual(torch.tensor([[[1.0, 0.5, 0.25, 0.125]]]), order=1)[0, 0, 0]
        tensor(1.)

    References:
        J. Makhoul, "Linear prediction: a tutorial review", Proceedings of the IEEE, 1975.
    """
    length = signals.shape[-1]
    order = min(order, length - 1)
    lags = [torch.linalg.vecdot(signals[..., lag:], signals[..., : length - lag]) for lag in range(order + 1)]
    power = lags[0]
    silent = power == 0
    level = power.masked_fill(silent, 1.0)
    alike = [(lag / level).masked_fill(silent, 0.0).sum(-1) for lag in lags]
    coefficients = _prediction([(1 + _NOISE) * alike[0], *alike[1:]])
    left = signals.clone()
    for lag, coefficient in enumerate(coefficients, start=1):
        left[..., lag:].addcmul_(signals[..., : length - lag], -coefficient[:, None, None])
    return left


def _prediction(autocorrelation: list[Float[Tensor, " B"]]) -> list[Float[Tensor, " B"]]:
    """The coefficients of least error, by the recursion of Levinson and Durbin."""
    found: list[Tensor] = []
    silent = autocorrelation[0] == 0
    error = autocorrelation[0].masked_fill(silent, 1.0)
    for number in range(1, len(autocorrelation)):
        foretold = sum((own * autocorrelation[number - lag] for lag, own in enumerate(found, start=1)), 0 * error)
        reflection = (autocorrelation[number] - foretold) / error
        found = [own - reflection * other for own, other in zip(found, reversed(found), strict=True)]
        found.append(reflection)
        error = error * (1 - reflection.square())
    return found
