r"""Time-domain signal-to-distortion ratios in dB.

All take ``(estimates, sources)`` of the same shape with time as the last axis, and are differentiable. Half precision
is computed in single.

The result is NaN for a silent source (with the mean subtracted, also for a constant one), for a single sample with the
mean subtracted, and for NaN inputs. The score of a perfect estimate is limited by the precision, to about 140 dB in
single and 310 dB in double precision. A silent estimate has an SNR and an SA-SDR of 0 dB, as its error is the source;
an SI-SDR, SI-SIR and SI-SAR of 0 dB by convention; and the lowest SD-SDR that the precision allows.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional.samples import at_least_single, subtract_mean

__all__ = ["sa_sdr", "sd_sdr", "si_sar", "si_sdr", "si_sir", "snr"]

Signals = Float[Tensor, "*any T"]
Ratios = Float[Tensor, "*any"]


def si_sdr(estimates: Signals, sources: Signals, *, zero_mean: bool = True) -> Ratios:
    r"""Scale-invariant signal-to-distortion ratio (SI-SDR).

    .. math::
        10 \log_{10} \frac{\lVert \alpha s \rVert^2}{\lVert \alpha s - \hat s \rVert^2}, \qquad
        \alpha = \frac{\langle \hat s, s \rangle}{\lVert s \rVert^2}

    Args:
        estimates: :math:`\hat s`.
        sources: :math:`s`.
        zero_mean: whether the mean over time is subtracted from both first.

    Example:
        >>> si_sdr(torch.tensor([2.0, 0.0, -2.0, 0.2]), torch.tensor([1.0, 0.0, -1.0, 0.0]), zero_mean=False)
        tensor(23.0103)

    References:
        J. Le Roux, S. Wisdom, H. Erdogan and J. Hershey, "SDR - half-baked or well done?", ICASSP, 2019.
    """
    estimates, sources = _pair(estimates, sources, zero_mean)
    target = _scale(estimates, sources) * sources
    return _ratio(_energy(target), _energy(target - estimates), sources)


def sd_sdr(estimates: Signals, sources: Signals, *, zero_mean: bool = True) -> Ratios:
    r"""Scale-dependent signal-to-distortion ratio (SD-SDR), a variant of :func:`si_sdr` that penalises level errors.

    .. math::
        10 \log_{10} \frac{\lVert \alpha s \rVert^2}{\lVert s - \hat s \rVert^2}

    Args:
        estimates: estimated sources.
        sources: true sources.
        zero_mean: whether the mean over time is subtracted from both first.

    Example:
        >>> sd_sdr(torch.tensor([2.0, 0.0, -2.0]), torch.tensor([1.0, 0.0, -1.0])).round(decimals=3)
        tensor(6.0210)
    """
    estimates, sources = _pair(estimates, sources, zero_mean)
    target = _scale(estimates, sources) * sources
    return _ratio(_energy(target), _energy(sources - estimates), sources)


def snr(estimates: Signals, sources: Signals, *, zero_mean: bool = False) -> Ratios:
    r"""Signal-to-noise ratio (SNR), :math:`10 \log_{10} \lVert s \rVert^2 / \lVert s - \hat s \rVert^2`.

    Args:
        estimates: estimated sources.
        sources: true sources.
        zero_mean: whether the mean over time is subtracted from both first.

    Example:
        >>> snr(torch.tensor([1.1, 0.0, -1.0]), torch.tensor([1.0, 0.0, -1.0])).round(decimals=2)
        tensor(23.0100)
    """
    estimates, sources = _pair(estimates, sources, zero_mean)
    return _ratio(_energy(sources), _energy(sources - estimates), sources)


def sa_sdr(
    estimates: Float[Tensor, "*any S C T"], sources: Float[Tensor, "*any S C T"], *, zero_mean: bool = False
) -> Ratios:
    r"""Source-aggregated signal-to-distortion ratio (SA-SDR): over all sources and channels of an item jointly.

    .. math::
        10 \log_{10} \frac{\sum_j \lVert s_j \rVert^2}{\sum_j \lVert s_j - \hat s_j \rVert^2}

    It is defined if some, but not all, sources are silent.

    Args:
        estimates: estimated sources.
        sources: true sources.
        zero_mean: whether the mean over time is subtracted from both first.

    Shape:
        ``(..., S, C, T) -> (...)``.

    Example:
        >>> sources = torch.tensor([[[1.0, 0.0, -1.0]], [[0.0, 0.0, 0.0]]])
        >>> sa_sdr(sources + 0.1, sources).round(decimals=2)
        tensor(15.2300)

    References:
        T. von Neumann et al., "SA-SDR: a novel loss function for separation of meeting style data", ICASSP, 2022.
    """
    estimates, sources = _pair(estimates, sources, zero_mean)
    return snr(estimates.flatten(-3), sources.flatten(-3))


def si_sir(estimates: Float[Tensor, "*any S C T"], sources: Float[Tensor, "*any S C T"]) -> Float[Tensor, "*any S C"]:
    r"""Scale-invariant source-to-interference ratio (SI-SIR) of each channel.

    .. math::
        10 \log_{10} \frac{\lVert \alpha s_j \rVert^2}{\lVert P \hat s_j - \alpha s_j \rVert^2}

    with :math:`P` the projection onto all sources.

    Args:
        estimates: estimated sources.
        sources: true sources.

    Shape:
        ``(..., S, C, T) -> (..., S, C)``.
    """
    target, projected, _, sources = _decomposed(estimates, sources)
    return _ratio(_energy(target), _energy(projected - target), sources)


def si_sar(estimates: Float[Tensor, "*any S C T"], sources: Float[Tensor, "*any S C T"]) -> Float[Tensor, "*any S C"]:
    r"""Scale-invariant source-to-artifacts ratio (SI-SAR) of each channel.

    .. math::
        10 \log_{10} \frac{\lVert \alpha s_j \rVert^2}{\lVert \hat s_j - P \hat s_j \rVert^2}

    with :math:`P` the projection onto all sources.

    Args:
        estimates: estimated sources.
        sources: true sources.

    Shape:
        ``(..., S, C, T) -> (..., S, C)``.
    """
    target, projected, estimates, sources = _decomposed(estimates, sources)
    return _ratio(_energy(target), _energy(estimates - projected), sources)


def _pair(estimates: Tensor, sources: Tensor, zero_mean: bool) -> tuple[Tensor, Tensor]:  # noqa: FBT001 - private
    if estimates.shape != sources.shape:
        wanted = tuple(sources.shape)
        raise ValueError(f"estimates must have the shape of sources, {wanted}, got {tuple(estimates.shape)}")
    for name, signals in (("estimates", estimates), ("sources", sources)):
        if not signals.is_floating_point():
            raise ValueError(f"{name} must be floating point, got {signals.dtype}")
    estimates, sources = at_least_single(estimates), at_least_single(sources)
    if zero_mean:
        return subtract_mean(estimates), subtract_mean(sources)
    return estimates, sources


def _energy(signals: Tensor) -> Tensor:
    return signals.square().sum(-1)


def _scale(estimates: Tensor, sources: Tensor) -> Tensor:
    return (estimates * sources).sum(-1, keepdim=True) / sources.square().sum(-1, keepdim=True)


def _ratio(wanted: Tensor, unwanted: Tensor, sources: Tensor) -> Tensor:
    """Ratio in dB; a floor relative to the source energy keeps numerator and denominator positive."""
    floor = _energy(sources.detach()) * torch.finfo(sources.dtype).eps ** 2
    ratio = 10 * torch.log10((wanted + floor) / (unwanted + floor))
    return ratio.masked_fill(floor == 0, torch.nan)


def _decomposed(estimates: Tensor, sources: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Projections of each estimate onto its source and onto all sources, and the zero-mean signals."""
    estimates, sources = _pair(estimates, sources, zero_mean=True)
    target = _scale(estimates, sources) * sources
    references, signals = sources.transpose(-2, -3), estimates.transpose(-2, -3)  # (..., C, S, T)
    norm = references.square().sum(-1, keepdim=True).sqrt()
    units = references / norm.masked_fill(norm == 0, 1.0)
    gram = units @ units.mT
    # A tiny ridge makes the system solvable for linearly dependent sources without changing the projection.
    ridge = torch.finfo(gram.dtype).eps * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    weights, _ = torch.linalg.solve_ex(gram + ridge, units @ signals.mT)
    projected = (weights.mT @ units).transpose(-2, -3)
    return target, projected, estimates, sources
