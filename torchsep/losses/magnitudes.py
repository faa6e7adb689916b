"""Losses of magnitudes or masks, ``(..., C, F, N) x 2 -> (...)``: over channels, bins and frames of one source."""

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.losses.inputs import at_least_single, check_pair

__all__ = ["kl_loss", "magnitude_l1_loss", "magnitude_mse_loss"]

Magnitudes = Float[Tensor, "*any C F N"]
Losses = Float[Tensor, "*any"]

_BINS = (-3, -2, -1)  # channels, frequencies and frames


def magnitude_l1_loss(estimates: Magnitudes, targets: Magnitudes) -> Losses:
    r"""The mean of :math:`|\hat v - v|` over channels, bins and frames.

    Args:
        estimates: :math:`\hat v`.
        targets: :math:`v`.

    Example:
        >>> magnitude_l1_loss(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[0.0, 4.0]]]))
        tensor(1.5000)
    """
    check_pair(estimates, targets, 3, "targets")
    return (at_least_single(estimates) - at_least_single(targets)).abs().mean(_BINS)


def magnitude_mse_loss(estimates: Magnitudes, targets: Magnitudes) -> Losses:
    r"""The mean of :math:`(\hat v - v)^2` over channels, bins and frames.

    Args:
        estimates: :math:`\hat v`.
        targets: :math:`v`.

    Example:
        >>> magnitude_mse_loss(torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[0.0, 4.0]]]))
        tensor(2.5000)
    """
    check_pair(estimates, targets, 3, "targets")
    return (at_least_single(estimates) - at_least_single(targets)).square().mean(_BINS)


def kl_loss(estimates: Magnitudes, targets: Magnitudes) -> Losses:
    r"""The mean generalised Kullback-Leibler divergence, :math:`v \log (v / \hat v) - v + \hat v`.

    It grows with the level as :func:`magnitude_l1_loss` does, where the squared error, which grows with its square,
    looks at the loudest bins alone.

    Args:
        estimates: non-negative magnitudes :math:`\hat v`. For this loss the precision times the mean of the targets is
            added to both, so that it is finite where an estimate is zero.
        targets: non-negative magnitudes :math:`v`; a negative one gives NaN.

    Gradient:
        Exact, into both, but for the mean that is added, which is held.

    Example:
        >>> kl_loss(torch.tensor([[[2.0, 3.0]]]), torch.tensor([[[2.0, 0.0]]]))
        tensor(1.5000)

    References:
        D. Lee and H. Seung, "Algorithms for non-negative matrix factorization", NIPS, 2000.
    """
    check_pair(estimates, targets, 3, "targets")
    estimates, targets = at_least_single(estimates), at_least_single(targets)
    least = targets.detach().mean(_BINS, keepdim=True) * torch.finfo(targets.dtype).eps
    raised, nothing = targets + least, least == 0
    ratio = raised.masked_fill(nothing, 1.0) / (estimates + least).masked_fill(nothing, 1.0)
    return (raised * ratio.log() - targets + estimates).mean(_BINS)
