"""Separation metrics as torchmetrics modules, accumulated over batches and devices."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric  # noqa: TID253 - this file is imported when it is used

from torchsep.checks import check_integer
from torchsep.metrics.bss_eval import bss_eval_v4
from torchsep.metrics.matching import match_estimates
from torchsep.metrics.ratios import sa_sdr, sd_sdr, si_sar, si_sdr, si_sir, snr
from torchsep.metrics.summaries import frame_median, improvement

__all__ = [
    "BSSEvalV4",
    "ScaleDependentSDR",
    "ScaleInvariantSAR",
    "ScaleInvariantSDR",
    "ScaleInvariantSIR",
    "SeparationMetric",
    "SignalNoiseRatio",
    "SourceAggregatedSDR",
]

Measure = Callable[[Tensor, Tensor], Tensor]


class SeparationMetric(Metric):
    """Mean of a metric over sources and items, after averaging over channels.

    NaN values, such as those of silent sources, are ignored and counted in ``left_out``. Update with
    ``(estimates, sources)``, and with the mixture if ``improvement`` is set.

    Args:
        metric: function of ``(estimates, sources)``, ``(..., S, C, T) -> (..., S, C)``, or ``(...)`` if ``of_items``.
        permute: whether estimates are first assigned to sources by maximum ``match_by``; the number of estimates may
            then differ from the number of sources.
        improvement: whether the metric of the mixture, as the estimate of every source, is subtracted.
        match_by: metric used for the assignment, ``(..., T) -> (...)``; ``metric`` if None.
        of_items: whether the metric has one value for all sources and channels of an item.
        options: options of torchmetrics, such as ``dist_sync_on_step``.

    Shape:
        ``(estimates (B, S, C, T), sources (B, S, C, T), mixture (B, C, T))``, or all without B; ``compute`` returns a
        scalar, NaN if there are no valid values.

    Example:
        >>> sources = torch.eye(2)[None, :, None]
        >>> metric = SeparationMetric(snr, permute=True)
        >>> metric.update(0.9 * sources.flip(1), sources)
        >>> metric.compute().round(decimals=2)
        tensor(20.)
    """

    higher_is_better = True
    is_differentiable = True
    full_state_update = False
    total: Tensor
    count: Tensor
    left_out: Tensor

    def __init__(
        self,
        metric: Measure,
        *,
        permute: bool = False,
        improvement: bool = False,
        match_by: Measure | None = None,
        of_items: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.metric = metric
        self.permute = permute
        self.improvement = improvement
        self.match_by = match_by or metric
        self.of_items = of_items
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("left_out", torch.tensor(0), dist_reduce_fx="sum")

    def update(
        self,
        estimates: Float[Tensor, "*B R C T"],
        sources: Float[Tensor, "*B S C T"],
        mixture: Float[Tensor, "*B C T"] | None = None,
    ) -> None:
        """Add a batch."""
        if self.permute:
            estimates = match_estimates(self.match_by, estimates, sources).estimates
        values = self._values(estimates, sources, mixture)
        values = values if self.of_items else values.nanmean(-1)
        undefined = values.isnan()
        self.total = self.total + values.masked_fill(undefined, 0.0).sum().to(self.total.dtype)
        self.count = self.count + (~undefined).sum()
        self.left_out = self.left_out + undefined.sum()

    def compute(self) -> Tensor:
        """Mean over all valid values."""
        return self.total / self.count

    def _values(self, estimates: Tensor, sources: Tensor, mixture: Tensor | None) -> Tensor:
        if not self.improvement:
            return self.metric(estimates, sources)
        if mixture is None:
            raise ValueError("mixture must be given if improvement is set, got None")
        return improvement(self.metric, estimates, sources, mixture)


class ScaleInvariantSDR(SeparationMetric):
    """Mean of :func:`torchsep.metrics.si_sdr`.

    Args:
        zero_mean: whether the mean over time is subtracted first.
        options: options of :class:`SeparationMetric`: ``permute``, ``improvement``.
    """

    def __init__(self, *, zero_mean: bool = True, **options: Any) -> None:
        super().__init__(partial(si_sdr, zero_mean=zero_mean), **options)


class ScaleDependentSDR(SeparationMetric):
    """Mean of :func:`torchsep.metrics.sd_sdr`.

    Args:
        zero_mean: whether the mean over time is subtracted first.
        options: options of :class:`SeparationMetric`: ``permute``, ``improvement``.
    """

    def __init__(self, *, zero_mean: bool = True, **options: Any) -> None:
        super().__init__(partial(sd_sdr, zero_mean=zero_mean), **options)


class SignalNoiseRatio(SeparationMetric):
    """Mean of :func:`torchsep.metrics.snr`.

    Args:
        zero_mean: whether the mean over time is subtracted first.
        options: options of :class:`SeparationMetric`: ``permute``, ``improvement``.
    """

    def __init__(self, *, zero_mean: bool = False, **options: Any) -> None:
        super().__init__(partial(snr, zero_mean=zero_mean), **options)


class SourceAggregatedSDR(SeparationMetric):
    """Mean of :func:`torchsep.metrics.sa_sdr` over items; estimates are assigned by maximum SA-SDR.

    Args:
        zero_mean: whether the mean over time is subtracted first.
        options: options of :class:`SeparationMetric`: ``permute``, ``improvement``.
    """

    def __init__(self, *, zero_mean: bool = False, **options: Any) -> None:
        by = partial(_less_error, zero_mean=zero_mean)
        super().__init__(partial(sa_sdr, zero_mean=zero_mean), match_by=by, of_items=True, **options)


class ScaleInvariantSIR(SeparationMetric):
    """Mean of :func:`torchsep.metrics.si_sir`; estimates are assigned by maximum SI-SDR.

    Args:
        options: options of :class:`SeparationMetric`: ``permute``, ``improvement``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(si_sir, match_by=si_sdr, **options)


class ScaleInvariantSAR(SeparationMetric):
    """Mean of :func:`torchsep.metrics.si_sar`; estimates are assigned by maximum SI-SDR.

    Args:
        options: options of :class:`SeparationMetric`: ``permute``, ``improvement``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(si_sar, match_by=si_sdr, **options)


class BSSEvalV4(Metric):
    """Medians of :func:`torchsep.metrics.bss_eval_v4` over frames, then over sources and items.

    This is the usual summary of a data set. Sources without valid frames are ignored and counted in ``left_out``.

    Args:
        sample_rate: sample rate in Hz.
        window: frame length in seconds.
        hop: hop between frames in seconds.
        num_taps: length of the filters.
        permute: whether estimates are assigned to sources by maximum mean SIR.
        options: options of torchmetrics, such as ``dist_sync_on_step``.

    Shape:
        ``(estimates (B, S, C, T), sources (B, S, C, T))``, or both without B; ``compute`` returns a dictionary of
        ``sdr``, ``isr``, ``sir`` and ``sar``.
    """

    higher_is_better = True
    is_differentiable = True
    full_state_update = False
    values: list[Tensor]
    left_out: Tensor

    def __init__(
        self,
        *,
        sample_rate: int,
        window: float = 1.0,
        hop: float = 1.0,
        num_taps: int = 512,
        permute: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_integer(sample_rate, "sample_rate", at_least=1)
        self.measure = partial(
            bss_eval_v4, sample_rate=sample_rate, window=window, hop=hop, num_taps=num_taps, permute=permute
        )
        self.add_state("values", [], dist_reduce_fx="cat")
        self.add_state("left_out", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, estimates: Float[Tensor, "*B S C T"], sources: Float[Tensor, "*B S C T"]) -> None:
        """Add a batch."""
        found = self.measure(estimates, sources)
        medians = torch.stack([frame_median(ratio) for ratio in found[:4]], -1).flatten(0, -2)
        self.values.append(medians)
        self.left_out = self.left_out + medians.isnan().all(-1).sum()

    def compute(self) -> dict[str, Tensor]:
        """Medians over all valid values, NaN if there are none."""
        empty = torch.empty(0, 4, device=self.left_out.device)
        values = torch.cat(list(self.values) or [empty]) if isinstance(self.values, list) else self.values
        return dict(zip(("sdr", "isr", "sir", "sar"), frame_median(values.mT), strict=True))


def _less_error(estimates: Tensor, sources: Tensor, *, zero_mean: bool) -> Tensor:
    error = estimates - sources
    error = error - error.mean(-1, keepdim=True) if zero_mean else error
    return -error.square().sum(-1)
