"""Assignment of estimates to sources by a metric."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.functional.assignment import optimal_assignment

__all__ = ["MatchedEstimates", "best_order", "match_estimates", "pairwise"]

# In dB, beyond the range of ratios in double precision.
_PERFECT, _UNDEFINED = 1e4, -1e5


class MatchedEstimates(NamedTuple):
    """Estimates in the order of the sources, and their indices.

    Args:
        estimates: estimate of each source, or silence if there are too few.
        order: index of the estimate of each source, -1 if there are too few.
    """

    estimates: Float[Tensor, "*any S C T"]
    order: Int[Tensor, "*any S"]


def pairwise(
    metric: Callable[[Tensor, Tensor], Tensor],
    estimates: Float[Tensor, "*any R C T"],
    sources: Float[Tensor, "*any S C T"],
) -> Float[Tensor, "*any S R"]:
    """Metric of every estimate against every source, averaged over channels, ignoring NaN.

    Args:
        metric: function of ``(estimates, sources)``, both ``(..., C, T)``, with one value per channel.
        estimates: R estimates.
        sources: S true sources.

    Example:
        >>> from torchsep.metrics import snr
        >>> sources = torch.eye(2)[:, None]
        >>> pairwise(snr, 0.9 * sources.flip(0), sources).round(decimals=1)
        tensor([[-2.6000, 20.0000],
                [20.0000, -2.6000]])
    """
    wanted, got = tuple(sources.shape), tuple(estimates.shape)
    if len(got) < 3 or (*got[:-3], *got[-2:]) != (*wanted[:-3], *wanted[-2:]):
        raise ValueError(f"estimates must have the shape of sources, {wanted}, in any number, got {got}")
    shape = *sources.shape[:-2], *estimates.shape[-3:]
    return metric(estimates[..., None, :, :, :].expand(shape), sources[..., :, None, :, :].expand(shape)).nanmean(-1)


def best_order(scores: Float[Tensor, "*any S R"]) -> Int[Tensor, "*any S"]:
    """One-to-one assignment of estimates to sources with the largest sum of scores.

    Args:
        scores: scores in dB of R estimates for each of S sources. NaN ranks below all scores, infinity above.

    Shape:
        ``(..., S, R) -> (..., S)``; with fewer estimates than sources, unmatched sources are -1.

    Gradient:
        None: the order is discrete.

    Example:
        >>> best_order(torch.tensor([[3.0, 10.0], [9.0, 11.0], [0.0, 1.0]]))
        tensor([ 1,  0, -1])
    """
    cost = -scores.detach().nan_to_num(nan=_UNDEFINED, posinf=_PERFECT, neginf=-_PERFECT)
    count, others = cost.shape[-2:]
    if count <= others:
        return optimal_assignment(cost)
    source_of = optimal_assignment(cost.mT)
    order = torch.full(cost.shape[:-1], -1, device=cost.device)
    return order.scatter(-1, source_of, torch.arange(others, device=cost.device).expand(source_of.shape))


def match_estimates(
    metric: Callable[[Tensor, Tensor], Tensor],
    estimates: Float[Tensor, "*any R C T"],
    sources: Float[Tensor, "*any S C T"],
) -> MatchedEstimates:
    """Reorder estimates to match the sources, maximising the sum of a metric independently for each item.

    The number of estimates may differ from the number of sources; surplus estimates are dropped.

    Args:
        metric: function of ``(estimates, sources)``, both ``(..., C, T)``, with one value in dB per channel, higher is
            better.
        estimates: R estimates in any order.
        sources: S true sources.

    Gradient:
        Exact with respect to the estimates, with the order treated as constant.

    Example:
        >>> from torchsep.metrics import si_sdr
        >>> sources = torch.eye(3)[:, None]
        >>> match_estimates(si_sdr, sources[[2, 0]], sources).order
        tensor([ 1, -1,  0])
    """
    with torch.no_grad():
        order = best_order(pairwise(metric, estimates, sources))
    index = order.clamp(min=0)[..., None, None].expand(sources.shape)
    return MatchedEstimates(estimates.gather(-3, index).masked_fill((order < 0)[..., None, None], 0.0), order)
