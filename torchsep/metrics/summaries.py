"""Summaries of metrics: improvement over the mixture, and median over frames."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["frame_median", "improvement"]


def improvement(
    metric: Callable[[Tensor, Tensor], Tensor],
    estimates: Float[Tensor, "*any S C T"],
    sources: Float[Tensor, "*any S C T"],
    mixture: Float[Tensor, "*any C T"],
) -> Float[Tensor, "..."]:
    """Improvement of a metric over the mixture, taken as the estimate of every source.

    Args:
        metric: function of ``(estimates, sources)``, such as any ratio of this package; use ``functools.partial`` to
            set options.
        estimates: estimated sources.
        sources: true sources.
        mixture: mixture of the sources.

    Shape:
        That of the metric. NaN where the metric is NaN for the estimates or the mixture.

    Example:
        >>> from torchsep.metrics import snr
        >>> sources = torch.eye(2)[:, None]
        >>> improvement(snr, 0.9 * sources, sources, sources.sum(0)).round(decimals=2)
        tensor([[20.],
                [20.]])
    """
    if mixture.shape != (*sources.shape[:-3], *sources.shape[-2:]):
        wanted = (*sources.shape[:-3], *sources.shape[-2:])
        raise ValueError(f"mixture must have the shape of one source, {wanted}, got {tuple(mixture.shape)}")
    return metric(estimates, sources) - metric(mixture[..., None, :, :].expand(sources.shape), sources)


def frame_median(ratios: Float[Tensor, "*any frames"]) -> Float[Tensor, "*any"]:
    """Median over the last axis, ignoring NaN; the mean of the two middle values for an even number.

    Args:
        ratios: ratio of each frame; the median is NaN if all frames are NaN.

    Example:
        >>> frame_median(torch.tensor([[4.0, torch.nan, 1.0], [torch.inf, 2.0, torch.inf]]))
        tensor([2.5000,    inf])
    """
    ordered = ratios.sort(-1).values  # NaN is sorted last
    valid = ratios.isfinite().logical_or(ratios.isinf()).sum(-1, keepdim=True)
    middle = torch.cat(((valid - 1) // 2, valid // 2), -1).clamp(0, max(ratios.shape[-1] - 1, 0))
    median = ordered.gather(-1, middle).mean(-1) if ratios.shape[-1] else ratios.new_full(ratios.shape[:-1], torch.nan)
    return median.masked_fill(valid[..., 0] == 0, torch.nan)
