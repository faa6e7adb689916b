r"""BSS Eval: SDR, ISR, SIR and SAR by projection onto filtered versions of the true sources.

An estimate is decomposed into the true source, spatial distortion (filtered true source minus the true source),
interference (explained by filters of the other sources) and artifacts (the residual). SDR, ISR, SIR and SAR are ratios
of their energies in dB. All functions take ``(estimates, sources)`` of shape ``(..., S, C, T)``.

A ratio is infinite where its denominator is zero, such as the SDR of a perfect estimate. All sources of an item, or of
a frame, are NaN where one of its sources or estimates is silent (its sum over channels is zero throughout), and where
the item has non-finite values. Signals may be shorter than the filters.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.checks import check_integer
from torchsep.metrics.distortion_energies import Energies, distortion_energies
from torchsep.metrics.matching import best_order

__all__ = ["BSSEval", "bss_eval_images", "bss_eval_sources", "bss_eval_v4"]


class BSSEval(NamedTuple):
    """BSS Eval ratios in dB for each source, or each source and frame, and the assignment of estimates to sources.

    Args:
        sdr: source-to-distortion ratio, ``(..., S)`` or ``(..., S, frames)``.
        isr: source image-to-spatial distortion ratio.
        sir: source-to-interference ratio.
        sar: source-to-artifacts ratio.
        permutation: index of the estimate for each source, ``(..., S)``.
    """

    sdr: Float[Tensor, "*any"]
    isr: Float[Tensor, "*any"]
    sir: Float[Tensor, "*any"]
    sar: Float[Tensor, "*any"]
    permutation: Int[Tensor, "*items S"]


def bss_eval_sources(
    estimates: Float[Tensor, "*any S C T"],
    sources: Float[Tensor, "*any S C T"],
    *,
    num_taps: int = 512,
    permute: bool = True,
) -> BSSEval:
    """BSS Eval v3 for single-channel sources, allowing any filtered version of the true source.

    Args:
        estimates: single-channel estimates.
        sources: single-channel true sources.
        num_taps: length of the filters.
        permute: whether estimates are assigned to sources by maximum mean SIR; otherwise they are taken in order.

    Shape:
        ``(..., S, 1, T) -> (..., S)``; the ISR is NaN.

    Raises:
        ValueError: if shapes differ or there is more than one channel.

    References:
        E. Vincent, R. Gribonval and C. Fevotte, "Performance measurement in blind audio source separation", IEEE
        TASLP, 2006.
    """
    if sources.dim() >= 2 and sources.shape[-2] != 1:
        raise ValueError(f"sources must have one channel, got {sources.shape[-2]}; use bss_eval_images")
    return _of_whole_signals(estimates, sources, num_taps, of_images=False, permute=permute)


def bss_eval_images(
    estimates: Float[Tensor, "*any S C T"],
    sources: Float[Tensor, "*any S C T"],
    *,
    num_taps: int = 512,
    permute: bool = True,
) -> BSSEval:
    """BSS Eval v3 for source images: multichannel sources as they appear in the mixture.

    Args:
        estimates: estimated source images.
        sources: true source images.
        num_taps: length of the filters.
        permute: whether estimates are assigned to sources by maximum mean SIR; otherwise they are taken in order.

    Shape:
        ``(..., S, C, T) -> (..., S)``.

    References:
        E. Vincent et al., "First stereo audio source separation evaluation campaign: data, algorithms and results",
        ICA, 2007.
    """
    return _of_whole_signals(estimates, sources, num_taps, of_images=True, permute=permute)


def bss_eval_v4(
    estimates: Float[Tensor, "*any S C T"],
    sources: Float[Tensor, "*any S C T"],
    *,
    sample_rate: int,
    window: float = 1.0,
    hop: float = 1.0,
    num_taps: int = 512,
    permute: bool = False,
) -> BSSEval:
    """BSS Eval v4: frame-wise ratios with filters estimated once on the whole signal.

    The usual score of a track is the median over its frames, ignoring NaN (:func:`torchsep.metrics.frame_median`), and
    that of a data set the median over its tracks.

    Args:
        estimates: estimated source images.
        sources: true source images.
        sample_rate: sample rate in Hz.
        window: frame length in seconds; infinite for the whole signal.
        hop: hop between frames in seconds; without effect if the window covers the whole signal.
        num_taps: length of the filters.
        permute: whether estimates are assigned to sources by maximum mean SIR over valid frames; otherwise they are
            taken in order.

    Shape:
        ``(..., S, C, T) -> (..., S, frames)``; an incomplete last frame is dropped.

    References:
        F.-R. Stoter, A. Liutkus and N. Ito, "The 2018 signal separation evaluation campaign", LVA/ICA, 2018.
    """
    check_integer(sample_rate, "sample_rate", at_least=1)
    if not window > 0:
        raise ValueError(f"window must be above 0, got {window}")
    if not hop > 0:
        raise ValueError(f"hop must be above 0, got {hop}")
    length = sources.shape[-1]
    samples, step = length, length
    if window * sample_rate < length:
        samples = max(1, math.floor(window * sample_rate))
        step = max(1, math.floor(min(hop * sample_rate, length)))
    parts = distortion_energies(estimates, sources, num_taps, (samples, step), of_images=True, pairs=permute)
    return _ordered(_ratios(parts, of_images=True), permute=permute)


def _of_whole_signals(estimates: Tensor, sources: Tensor, num_taps: int, *, of_images: bool, permute: bool) -> BSSEval:
    frames = (sources.shape[-1],) * 2
    parts = distortion_energies(estimates, sources, num_taps, frames, of_images=of_images, pairs=permute)
    found = _ordered(_ratios(parts, of_images=of_images), permute=permute)
    sdr, isr, sir, sar = (ratio[..., 0] for ratio in found[:4])
    return BSSEval(sdr, isr, sir, sar, found.permutation)


def _ratios(parts: Energies, *, of_images: bool) -> list[Tensor]:
    """SDR, ISR, SIR and SAR in dB; infinite where the denominator is zero."""

    def in_db(wanted: Tensor, unwanted: Tensor) -> Tensor:
        return 10 * torch.log10(wanted / unwanted)

    sir, sar = in_db(parts.own, parts.interference), in_db(parts.explained, parts.artifacts)
    if of_images:
        return [in_db(parts.true, parts.error), in_db(parts.true, parts.spatial), sir, sar]
    return [in_db(parts.own, parts.error), torch.full_like(sir, math.nan), sir, sar]


def _ordered(ratios: list[Tensor], *, permute: bool) -> BSSEval:
    """Ratios of the estimate assigned to each source."""
    count = ratios[0].shape[-2]
    if not permute:
        order = torch.arange(count, device=ratios[0].device).expand(*ratios[0].shape[:-3], count)
        sdr, isr, sir, sar = (ratio[..., 0, :, :] for ratio in ratios)
        return BSSEval(sdr, isr, sir, sar, order)
    order = best_order(ratios[2].nanmean(-1))
    index = order[..., None, None].expand(*order.shape, 1, ratios[0].shape[-1])
    sdr, isr, sir, sar = (ratio.gather(-2, index)[..., 0, :] for ratio in ratios)
    return BSSEval(sdr, isr, sir, sar, order)
