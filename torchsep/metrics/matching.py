"""Which estimate is of which source, by what a measure says of all pairs."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.functional.assignment import optimal_assignment

__all__ = ["MatchedEstimates", "best_order", "match_estimates", "pairwise"]

# In dB, beyond all that a ratio of double precision can be.
_PERFECT, _UNDEFINED = 1e4, -1e5


class MatchedEstimates(NamedTuple):
    """Estimates in the order of the sources, and which they are.

    Args:
        estimates: for each source its estimate, or silence where there is none left.
        order: for each source the number of its estimate, -1 where there is none left.
    """

    estimates: Float[Tensor, "*any S C T"]
    order: Int[Tensor, "*any S"]


def pairwise(
    metric: Callable[[Tensor, Tensor], Tensor],
    estimates: Float[Tensor, "*any R C T"],
    sources: Float[Tensor, "*any S C T"],
) -> Float[Tensor, "*any S R"]:
    """A measure of every estimate with every source as the true one; the mean over channels, NaN left out.

    Args:
        metric: of ``(estimates, sources)``, both ``(..., C, T)``, with one value a channel.
        estimates: R of them, as many as there are.
        sources: S true ones.

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
    """For each source the estimate, each estimate once, with which the scores have the largest sum.

    Args:
        scores: in dB, of each of R estimates for each of S sources. NaN is below all scores, and infinity above them.

    Shape:
        ``(..., S, R) -> (..., S)``; with fewer estimates than sources, the sources without one have -1.

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
    """The estimates in the order in which a measure is highest, summed over the sources; each item of a batch alone.

    There may be more estimates than sources, of which the worst are left, or fewer.

    Args:
        metric: of ``(estimates, sources)``, both ``(..., C, T)``, with one value in dB a channel, high where good.
        estimates: R of them, in any order.
        sources: S true ones.

    Gradient:
        Reaches the estimates; none through the order.

    Example:
        >>> from torchsep.metrics import si_sdr
        >>> sources = torch.eye(3)[:, None]
        >>> match_estimates(si_sdr, sources[[2, 0]], sources).order
        tensor([ 1, -1,  0])
    """
    with torch.no_grad():
        order = best_order(pairwise(metric, estimates, sources))
    place = order.clamp(min=0)[..., None, None].expand(sources.shape)
    return MatchedEstimates(estimates.gather(-3, place).masked_fill((order < 0)[..., None, None], 0.0), order)
