"""Linear prediction residual of multichannel signals."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["linear_prediction_residual"]

# Regularisation: noise power relative to that of the signals. Without it the residual of a tone, which is perfectly
# predictable, would be rounding noise.
_NOISE = 1e-3


def linear_prediction_residual(signals: Float[Tensor, "B C T"], order: int) -> Float[Tensor, "B C T"]:
    r"""The linear prediction residual of signals, :math:`x_t - \sum_k a_k x_{t - k}`.

    All channels of an item share the coefficients that minimise the error summed over level-normalised channels, so
    the residuals have the same instantaneous mixing matrix as the signals. Signals are zero before their first sample.

    Args:
        signals: zero-mean signals.
        order: prediction order; limited to the number of samples minus one.

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
    normalised = [(lag / level).masked_fill(silent, 0.0).sum(-1) for lag in lags]
    coefficients = _levinson_durbin([(1 + _NOISE) * normalised[0], *normalised[1:]])
    residual = signals.clone()
    for lag, coefficient in enumerate(coefficients, start=1):
        residual[..., lag:].addcmul_(signals[..., : length - lag], -coefficient[:, None, None])
    return residual


def _levinson_durbin(autocorrelation: list[Float[Tensor, " B"]]) -> list[Float[Tensor, " B"]]:
    """The prediction coefficients of minimum error, by Levinson-Durbin recursion."""
    found: list[Tensor] = []
    silent = autocorrelation[0] == 0
    error = autocorrelation[0].masked_fill(silent, 1.0)
    for number in range(1, len(autocorrelation)):
        predicted = sum((own * autocorrelation[number - lag] for lag, own in enumerate(found, start=1)), 0 * error)
        reflection = (autocorrelation[number] - predicted) / error
        found = [own - reflection * other for own, other in zip(found, reversed(found), strict=True)]
        found.append(reflection)
        error = error * (1 - reflection.square())
    return found
