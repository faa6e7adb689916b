"""The band of a mixture above the Nyquist frequency of its estimates, shared between them."""

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional.filters.box_filter import box_filter
from torchsep.functional.resampling import resample

__all__ = ["share_high_band"]

_SECONDS = 0.03  # over which energies are averaged
_FLOOR = 1e-6  # energy of every source, relative to the largest of the item, so that silent ones have equal shares


def share_high_band(
    estimates: Float[Tensor, "*B S C t"], mixture: Float[Tensor, "*B C T"], rate: int, mixture_rate: int
) -> Float[Tensor, "*B S C T"]:
    """Estimates at a higher sample rate, with the band of the mixture that they lack shared between the sources.

    At each time a source gets the part of it that is its part of the energy in the upper half of the estimates' own
    band, averaged over 30 ms. Estimates that sum to the resampled mixture then sum to the mixture.

    Args:
        estimates: at their own rate.
        mixture: at its rate.
        rate: of the estimates, in Hz.
        mixture_rate: of the mixture, in Hz.

    Gradient:
        Exact.

    Example:
        >>> mixture = torch.randn(1, 8000)
        >>> estimates = resample(mixture, 8000, 4000) * torch.tensor([0.8, 0.2])[:, None, None]
        >>> shared = share_high_band(estimates, mixture, 4000, 8000)
        >>> torch.allclose(shared.sum(0), mixture, atol=1e-5)
        True
    """
    length = mixture.shape[-1]
    known = resample(resample(mixture, mixture_rate, rate), rate, mixture_rate)[..., :length]
    upper = estimates - resample(resample(estimates, 2, 1), 1, 2)[..., : estimates.shape[-1]]
    scale = upper.detach().abs().amax((-3, -2, -1), keepdim=True)
    energy = box_filter((upper / scale.masked_fill(scale == 0, 1.0)).square(), max(1, round(_SECONDS * rate))) + _FLOOR
    shares = energy / energy.sum(-3, keepdim=True)
    index = torch.arange(length, device=mixture.device) * rate // mixture_rate
    shares = shares.index_select(-1, index.clamp(max=estimates.shape[-1] - 1))
    return resample(estimates, rate, mixture_rate)[..., :length] + shares * (mixture - known).unsqueeze(-3)
