"""Masks by the likelihood of each source's attenuation and delay."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional.magnitude import magnitude
from torchsep.typing import Masks, Spectrogram

__all__ = ["likelihood_masks"]


def likelihood_masks(spectrogram: Spectrogram, attenuation: Float[Tensor, "B S"], delay: Float[Tensor, "B S"]) -> Masks:
    r"""The posterior probabilities of the sources in each bin, given their attenuations and delays.

    .. math::
        M_s \propto e^{-\rho_s / 2 \sigma^2}, \qquad
        \rho_s = \frac{|a_s e^{-i \omega \delta_s} X_1 - X_2|^2}{(1 + a_s^2) (|X_1|^2 + |X_2|^2)}

    The noise power in a bin is assumed proportional to the power of the bin, by the factor :math:`\sigma^2`, whose
    maximum-likelihood estimate is used for each item.

    Args:
        spectrogram: spectrogram of two channels.
        attenuation: amplitude ratio :math:`a_s` of the second to the first channel; negative for opposite polarity, and
            NaN for a source that is not there, whose mask is zero.
        delay: delay :math:`\delta_s` of the second channel, in samples.

    Gradient:
        Exact.

    Example:
        >>> spectrogram = torch.tensor([[[[1.0 + 0j]], [[0.6 + 0j]]]])
        >>> masks = likelihood_masks(spectrogram, torch.tensor([[0.5, 2.0]]), torch.zeros(1, 2))
        >>> masks[0, :, 0, 0, 0].round(decimals=3)
        tensor([1., 0.])
    """
    peak = magnitude(spectrogram.detach()).amax((1, 2, 3), keepdim=True)
    first, second = (spectrogram / peak.masked_fill(peak == 0, 1.0)).unbind(1)
    power = first.real.square() + first.imag.square() + second.real.square() + second.imag.square()
    silent = power == 0
    bins = torch.arange(first.shape[-2], dtype=power.dtype, device=power.device)
    omega = bins * (math.pi / max(1, first.shape[-2] - 1))
    absent = attenuation.isnan()
    places = (values.masked_fill(absent, 0.0).unbind(1) for values in (attenuation, delay))
    errors = []
    for factor, lag in zip(*places, strict=True):
        angle = omega[:, None] * lag[:, None, None].to(omega)
        mixing = (factor[:, None, None] * torch.polar(torch.ones_like(angle), -angle)).to(first.dtype)
        difference = mixing * first - second
        errors.append((difference.real.square() + difference.imag.square()) / (1 + factor.square())[:, None, None])
    error = torch.stack(errors, 1)
    total = power.sum((-2, -1), keepdim=True)
    absent = absent[:, :, None, None]
    least = error.masked_fill(absent, torch.inf).amin(1).sum((-2, -1), keepdim=True) / total.masked_fill(
        total == 0, 1.0
    )
    variance = least.clamp(min=torch.finfo(power.dtype).eps)
    relative = (error / power.masked_fill(silent, 1.0)[:, None]).masked_fill(silent[:, None], 0.0)
    likelihood = (-relative / (2 * variance[:, None])).masked_fill(absent, -torch.inf)
    return likelihood.softmax(1)[:, :, None]
