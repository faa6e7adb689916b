r"""Waveform losses, ``(..., C, T) x 2 -> (...)``, over channels and time of each source jointly.

Losses in dB measure the error relative to the source. For a silent source, the estimate is measured relative to the
``mixture``, which wrappers such as ``PermutationInvariant`` pass to losses that accept it. Where the mixture is also
silent or missing, loss and gradient are zero.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_number
from torchsep.functional.samples import at_least_single, subtract_mean
from torchsep.losses.inputs import check_pair, silent

__all__ = ["l1_loss", "mse_loss", "si_sdr_loss", "snr_loss"]

Signals = Float[Tensor, "*any C T"]
Losses = Float[Tensor, "*any"]


def snr_loss(
    estimates: Signals, sources: Signals, *, mixture: Signals | None = None, clip_db: float | None = None
) -> Losses:
    r"""Negative signal-to-noise ratio in dB, with an optional soft threshold.

    .. math::
        10 \log_{10} \frac{\lVert s - \hat s \rVert^2 + \tau \lVert s \rVert^2}{\lVert s \rVert^2}, \qquad
        \tau = 10^{-c / 10}

    For a silent source in a mixture :math:`x` it is
    :math:`10 \log_{10} ((\lVert \hat s \rVert^2 + \tau \lVert x \rVert^2) / \lVert x \rVert^2)`. Unlike
    :func:`si_sdr_loss`, it is scale-sensitive.

    Args:
        estimates: :math:`\hat s`.
        sources: :math:`s`.
        mixture: :math:`x`, which broadcasts with the sources.
        clip_db: threshold :math:`c` at which the loss saturates, so that poorer estimates dominate the gradient. 30 is
            common and recommended if sources may be silent. If None, :math:`\tau` is machine epsilon squared, and a
            perfect estimate has a loss of about -138 dB in single and -313 dB in double precision.

    Gradient:
        Exact; zero for a perfect estimate.

    Example:
        >>> source = torch.tensor([[1.0, 0.0, -1.0]])
        >>> snr_loss(torch.stack((1.1 * source, source)), torch.stack((source, source)), clip_db=30)
        tensor([-19.5861, -30.0000])

    References:
        S. Wisdom, E. Tzinis, H. Erdogan, R. Weiss, K. Wilson and J. Hershey, "Unsupervised sound separation using
        mixture invariant training", NeurIPS, 2020.
        S. Wisdom et al., "What's all the FUSS about free universal sound separation data?", ICASSP, 2021.
    """
    check_pair(estimates, sources, 2)
    estimates, sources = at_least_single(estimates), at_least_single(sources)
    energy = _energy(sources)
    level = torch.where(silent(energy), _mixture_energy(mixture, energy), energy)
    undefined = silent(level)
    error = _energy(estimates - sources) / level.masked_fill(undefined, 1.0)
    floor = max(_threshold(clip_db), torch.finfo(error.dtype).eps ** 2)
    return (10 * torch.log10(error + floor)).masked_fill(undefined, 0.0)


def si_sdr_loss(
    estimates: Signals,
    sources: Signals,
    *,
    mixture: Signals | None = None,
    zero_mean: bool = True,
    clip_db: float | None = None,
) -> Losses:
    r"""Negative scale-invariant signal-to-distortion ratio in dB, with an optional soft threshold.

    .. math::
        10 \log_{10} \frac{\lVert \alpha s - \hat s \rVert^2 + \tau \lVert \alpha s \rVert^2}
        {\lVert \alpha s \rVert^2}, \qquad
        \alpha = \frac{\langle \hat s, s \rangle}{\lVert s \rVert^2}, \quad \tau = 10^{-c / 10}

    with machine epsilon squared times :math:`\lVert \hat s \rVert^2` added to numerator and denominator. For a silent
    source it equals :func:`snr_loss`. The scale of the estimates is unconstrained: prefer :func:`snr_loss` where it
    matters, as in a sum with other losses, or where sources may be silent.

    Args:
        estimates: :math:`\hat s`. For a silent estimate of a non-silent source, the loss is 0 dB with zero gradient.
        sources: :math:`s`.
        mixture: reference for silent sources, as in :func:`snr_loss`; broadcasts with the sources.
        zero_mean: whether the mean over time is subtracted from each channel first.
        clip_db: threshold :math:`c` of :func:`snr_loss`.

    Gradient:
        Exact; zero for a perfect estimate.

    Example:
        >>> source = torch.tensor([[1.0, 0.0, -1.0]])
        >>> si_sdr_loss(2 * source + torch.tensor([[0.1, -0.2, 0.1]]), source).round(decimals=3)
        tensor(-21.2490)

    References:
        J. Le Roux, S. Wisdom, H. Erdogan and J. Hershey, "SDR - half-baked or well done?", ICASSP, 2019.
        N. Zeghidour and D. Grangier, "Wavesplit: end-to-end speech separation by speaker clustering", IEEE/ACM TASLP,
        2021.
    """
    check_pair(estimates, sources, 2)
    estimates, sources = at_least_single(estimates), at_least_single(sources)
    if zero_mean:
        estimates, sources = subtract_mean(estimates), subtract_mean(sources)
        mixture = None if mixture is None else subtract_mean(at_least_single(mixture))
    energy = _energy(sources)
    absent = silent(energy)
    scale = (estimates * sources).sum((-2, -1)) / energy.masked_fill(absent, 1.0)
    # Energies relative to the estimate, or for a silent source to the mixture.
    level = torch.where(absent, _mixture_energy(mixture, energy), _energy(estimates))
    undefined = silent(level)
    level = level.masked_fill(undefined, 1.0)
    wanted = (scale.square() * energy / level).masked_fill(absent, 1.0)
    unwanted = _energy(estimates - scale[..., None, None] * sources) / level
    floor = torch.finfo(wanted.dtype).eps ** 2
    ratio = (unwanted + _threshold(clip_db) * wanted + floor) / (wanted + floor)
    return (10 * torch.log10(ratio)).masked_fill(undefined, 0.0)


def l1_loss(estimates: Signals, sources: Signals) -> Losses:
    r"""Mean absolute error :math:`|\hat s - s|` over channels and time.

    Args:
        estimates: :math:`\hat s`.
        sources: :math:`s`.

    Example:
        >>> l1_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]]))
        tensor(1.5000)
    """
    check_pair(estimates, sources, 2)
    return (at_least_single(estimates) - at_least_single(sources)).abs().mean((-2, -1))


def mse_loss(estimates: Signals, sources: Signals) -> Losses:
    r"""Mean squared error :math:`(\hat s - s)^2` over channels and time.

    Args:
        estimates: :math:`\hat s`.
        sources: :math:`s`.

    Example:
        >>> mse_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]]))
        tensor(2.5000)
    """
    check_pair(estimates, sources, 2)
    return (at_least_single(estimates) - at_least_single(sources)).square().mean((-2, -1))


def _energy(signals: Signals) -> Losses:
    return signals.square().sum((-2, -1))


def _mixture_energy(mixture: Signals | None, like: Losses) -> Losses:
    return torch.zeros_like(like) if mixture is None else _energy(at_least_single(mixture))


def _threshold(clip_db: float | None) -> float:
    if clip_db is None:
        return 0.0
    check_number(clip_db, "clip_db", at_least=0.0)
    return 10 ** (-clip_db / 10)
