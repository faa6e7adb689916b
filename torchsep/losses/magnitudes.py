"""Losses on magnitudes or masks, ``(..., C, F, N) x 2 -> (...)``, over channels, bins and frames of each source."""

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional.samples import at_least_single
from torchsep.losses.inputs import check_pair

__all__ = ["kl_loss", "magnitude_l1_loss", "magnitude_mse_loss"]

Magnitudes = Float[Tensor, "*any C F N"]
Losses = Float[Tensor, "*any"]

_BINS = (-3, -2, -1)  # channels, frequencies and frames


def magnitude_l1_loss(estimates: Magnitudes, targets: Magnitudes) -> Losses:
    r"""Mean absolute error :math:`|\hat v - v|` over channels, bins and frames.

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
    r"""Mean squared error :math:`(\hat v - v)^2` over channels, bins and frames.

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
    r"""Mean generalised Kullback-Leibler divergence :math:`v \log (v / \hat v) - v + \hat v`.

    It is proportional to the level, as :func:`magnitude_l1_loss` is; the squared error is proportional to the squared
    level and is dominated by the loudest bins.

    Args:
        estimates: non-negative magnitudes :math:`\hat v`. Machine epsilon times the mean of the targets is added to
            estimates and targets, so that the loss is finite where an estimate is zero.
        targets: non-negative magnitudes :math:`v`; negative values result in NaN.

    Gradient:
        Exact with respect to both, with the added mean treated as constant.

    Example:
        >>> kl_loss(torch.tensor([[[2.0, 3.0]]]), torch.tensor([[[2.0, 0.0]]]))
        tensor(1.5000)

    References:
        D. Lee and H. Seung, "Algorithms for non-negative matrix factorization", NIPS, 2000.
    """
    check_pair(estimates, targets, 3, "targets")
    estimates, targets = at_least_single(estimates), at_least_single(targets)
    floor = targets.detach().mean(_BINS, keepdim=True) * torch.finfo(targets.dtype).eps
    raised, is_zero = targets + floor, floor == 0
    ratio = raised.masked_fill(is_zero, 1.0) / (estimates + floor).masked_fill(is_zero, 1.0)
    return (raised * ratio.log() - targets + estimates).mean(_BINS)
