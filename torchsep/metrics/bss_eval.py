r"""BSS Eval: what distorts an estimate, told apart by what filters of the true sources can explain.

An estimate is the sum of its true source, of a filtered version of it less itself (spatial distortion), of what filters
of the other sources add (interference), and of the rest (artifacts). The ratios of their energies are SDR, ISR, SIR and
SAR, in dB. All functions take ``(estimates, sources)`` of shape ``(..., S, C, T)``.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.checks import check_integer, check_number
from torchsep.functional.permutation import optimal_assignment
from torchsep.metrics.distortion_filters import distortion_filters, fast_length

__all__ = ["BSSEval", "bss_eval_images", "bss_eval_sources", "bss_eval_v4"]

# Samples of transforms that are held together.
_TOGETHER = 1 << 22


class BSSEval(NamedTuple):
    """Ratios in dB of each source, or of each source and frame, and which estimate was taken for it.

    Args:
        sdr: source to distortion, ``(..., S)`` or ``(..., S, frames)``.
        isr: source image to spatial distortion.
        sir: source to interference.
        sar: source to artifacts.
        permutation: for each source the number of its estimate, ``(..., S)``.
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
    """The ratios of version 3 for single-channel sources, which forgive any filter of the true source.

    Args:
        estimates: one channel.
        sources: one channel.
        num_taps: length of the filters.
        permute: whether each source is given the estimate that makes the mean SIR highest; else that of its number.

    Shape:
        ``(..., S, 1, T) -> (..., S)``; the ISR is NaN.

    Raises:
        ValueError: if shapes differ, or there is more than one channel.

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
    """The ratios of version 3 for sources as they are in the mixture, in all its channels.

    Args:
        estimates: as many channels as the sources.
        sources: true images.
        num_taps: length of the filters.
        permute: whether each source is given the estimate that makes the mean SIR highest; else that of its number.

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
    """The ratios of version 4, frame by frame, with filters found once on the whole signal.

    A frame in which some source or some estimate is silent has NaN for all sources. The usual figure of a track is the
    median over its frames, NaN left out; that of a data set the median over its tracks.

    Args:
        estimates: as many channels as the sources.
        sources: true images.
        sample_rate: in Hz.
        window: of a frame, in seconds; infinite for the whole signal.
        hop: from one frame to the next, in seconds.
        num_taps: length of the filters.
        permute: whether each source is given the estimate that makes its mean SIR highest; else that of its number.

    Shape:
        ``(..., S, C, T) -> (..., S, frames)``; a last frame that is not whole is left out.

    References:
        F.-R. Stoter, A. Liutkus and N. Ito, "The 2018 signal separation evaluation campaign", LVA/ICA, 2018.
    """
    check_integer(sample_rate, "sample_rate", at_least=1)
    if not window > 0:
        raise ValueError(f"window must be above 0, got {window}")
    check_number(hop, "hop", above=0.0)
    length = sources.shape[-1]
    samples, step = length, length
    if window * sample_rate < length:
        samples, step = math.floor(window * sample_rate), max(1, math.floor(hop * sample_rate))
    parts = _energies(estimates, sources, num_taps, (samples, step), pairs=permute)
    return _ordered(_ratios(parts, of_images=True), permute=permute)


class _Energies(NamedTuple):
    """Energies ``(..., R, S, frames)`` of the parts of estimate S with source R as the true one.

    R is one where each estimate is paired with the source of its number. Frames that do not count have NaN.
    """

    true: Tensor
    error: Tensor
    spatial: Tensor
    own: Tensor
    own_error: Tensor
    interference: Tensor
    explained: Tensor
    artifacts: Tensor


def _of_whole_signals(estimates: Tensor, sources: Tensor, num_taps: int, *, of_images: bool, permute: bool) -> BSSEval:
    parts = _energies(estimates, sources, num_taps, (sources.shape[-1],) * 2, pairs=permute)
    found = _ordered(_ratios(parts, of_images=of_images), permute=permute)
    sdr, isr, sir, sar = (ratio[..., 0] for ratio in found[:4])
    return BSSEval(sdr, isr, sir, sar, found.permutation)


def _energies(estimates: Tensor, sources: Tensor, num_taps: int, frames: tuple[int, int], *, pairs: bool) -> _Energies:
    """What the ratios are made of, for frames of so many samples and so many samples apart."""
    if estimates.shape != sources.shape:
        wanted = tuple(sources.shape)
        raise ValueError(f"estimates must have the shape of sources, {wanted}, got {tuple(estimates.shape)}")
    if sources.dim() < 3:
        raise ValueError(f"sources must have shape (..., S, C, T), got {tuple(sources.shape)}")
    check_integer(num_taps, "num_taps", at_least=1)
    samples, step = frames
    size = fast_length(samples + num_taps - 1)
    count, channels, length = sources.shape[-3:]
    own_filters = _own_filters(estimates, sources, num_taps, pairs=pairs)
    all_filters = distortion_filters(sources.flatten(-3, -2), estimates.flatten(-3, -2), num_taps)
    all_response = torch.fft.rfft(all_filters.unflatten(-3, (count, channels)), size)
    own_response = torch.fft.rfft(own_filters, size)
    total = 1 + (length - samples) // step
    together = max(1, _TOGETHER // (size * sources[..., 0].numel()))
    found = []
    for first in range(0, total, together):
        last = min(first + together, total)
        piece = slice(first * step, (last - 1) * step + samples)
        heard, true = (tensor[..., piece].unfold(-1, samples, step).double() for tensor in (estimates, sources))
        silent = ((heard.sum(-3) == 0).all(-1) | (true.sum(-3) == 0).all(-1)).any(-2)  # (..., frames)
        # Spectra (..., frames, S, C, bins).
        estimate, source = (torch.fft.rfft(tensor, size).movedim(-2, -4) for tensor in (heard, true))
        explained = torch.einsum("...scmf,...tmf->...tscf", all_response, source.flatten(-3, -2))[..., None, :, :, :]
        if pairs:
            own = torch.einsum("...rscmf,...trmf->...trscf", own_response, source)
            reference = source[..., None, :, :]
        else:
            own = torch.einsum("...scmf,...tsmf->...tscf", own_response, source)[..., None, :, :, :]
            reference = source[..., None, :, :, :]
        estimate = estimate[..., None, :, :, :]
        signals = (
            reference, estimate - reference, own - reference, own, estimate - own, explained - own, explained,
            estimate - explained,
        )  # fmt: skip
        energies = torch.stack([_energy(signal, size).expand(own.shape[:-2]) for signal in signals])
        found.append(energies.masked_fill(silent[..., None, None], math.nan))
    return _Energies(*torch.cat(found, -3).movedim(-3, -1))


def _own_filters(estimates: Tensor, sources: Tensor, num_taps: int, *, pairs: bool) -> Tensor:
    """Filters from one true source, ``(..., R, S, C, C, L)`` for all pairs, else ``(..., S, C, C, L)``."""
    if not pairs:
        return distortion_filters(sources, estimates, num_taps)
    count, channels, length = sources.shape[-3:]
    every = estimates.flatten(-3, -2)[..., None, :, :].expand(*sources.shape[:-2], count * channels, length)
    return distortion_filters(sources, every, num_taps).unflatten(-3, (count, channels))


def _energy(spectrum: Tensor, size: int) -> Tensor:
    """The energy over channels and time of signals from their half spectra, whose length is even."""
    power = spectrum.real.square() + spectrum.imag.square()
    twice = 2 * power.sum((-2, -1)) - power[..., 0].sum(-1) - power[..., -1].sum(-1)
    return twice / size


def _ratios(parts: _Energies, *, of_images: bool) -> list[Tensor]:
    """SDR, ISR, SIR and SAR in dB; infinite where there is none of what is not wanted."""

    def in_db(wanted: Tensor, unwanted: Tensor) -> Tensor:
        return 10 * torch.log10(wanted / unwanted)

    sir, sar = in_db(parts.own, parts.interference), in_db(parts.explained, parts.artifacts)
    if of_images:
        return [in_db(parts.true, parts.error), in_db(parts.true, parts.spatial), sir, sar]
    return [in_db(parts.own, parts.own_error), torch.full_like(sir, math.nan), sir, sar]


def _ordered(ratios: list[Tensor], *, permute: bool) -> BSSEval:
    """For each source the ratios of the estimate that is taken for it."""
    count = ratios[0].shape[-2]
    if not permute:
        order = torch.arange(count, device=ratios[0].device).expand(*ratios[0].shape[:-3], count)
        sdr, isr, sir, sar = (ratio[..., 0, :, :] for ratio in ratios)
        return BSSEval(sdr, isr, sir, sar, order)
    order = optimal_assignment(-ratios[2].detach().mean(-1))
    place = order[..., None, None].expand(*order.shape, 1, ratios[0].shape[-1])
    sdr, isr, sir, sar = (ratio.gather(-2, place)[..., 0, :] for ratio in ratios)
    return BSSEval(sdr, isr, sir, sar, order)
