"""Scaling of items whose level is near the limits of floating-point numbers."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["apply_gain", "usual_level_gain"]

_USUAL = 2.0**30  # items whose peak is from its reciprocal to this are not scaled

# Exponents of the factors that bring a peak to about one; each applies where it reduces the peak's exponent.
_EXPONENTS = {torch.float32: (96, 48, 24, 12), torch.float64: (768, 384, 192, 96, 48, 24, 12)}
_LARGEST = {torch.float32: 2.0**126, torch.float64: 2.0**1020}  # whose reciprocal is a normal number too


def usual_level_gain(tensors: Sequence[Tensor]) -> Float[Tensor, " B"]:
    """The power of two that brings the peak of each item, over all tensors, to about one if it is far from it.

    It is one for usual levels (2^-30 to 2^30), silence and items that are not finite. Powers of two change no digit, so
    the estimates of a scaled item are those of the item, without overflow and underflow of squares and products. No
    value is read back from the device.

    Args:
        tensors: tensors in single or double precision whose items have the same gain.

    Example:
        >>> gain = usual_level_gain([torch.tensor([[1.0], [2.0**100], [0.0], [2.0**-140]])])
        >>> gain.log2()
        tensor([  0., -96.,   0., 126.])
    """
    largest = [
        torch.maximum(flat.amax(1), -flat.amin(1)) for flat in (tensor.detach().flatten(1) for tensor in tensors)
    ]
    peak = torch.stack(largest).amax(0)
    far = ((peak > _USUAL) | (peak < 1 / _USUAL)) & (peak > 0) & (peak < torch.inf)
    one = torch.ones_like(peak)
    gain, peak = one, torch.where(far, peak, one)
    for exponent in _EXPONENTS[peak.dtype]:
        limit = 2.0 ** (exponent / 2)
        factor = torch.where(peak > limit, 2.0**-exponent, one)
        factor = torch.where(peak < 1 / limit, 2.0**exponent, factor)
        peak, gain = peak * factor, gain * factor
    largest_gain = _LARGEST[peak.dtype]
    return gain.clamp(1 / largest_gain, largest_gain)


def apply_gain(tensor: Tensor, gain: Float[Tensor, " B"], *, keep_gradient: bool) -> Tensor:
    """The items multiplied by gains.

    Args:
        tensor: items.
        gain: gain of each item.
        keep_gradient: whether the gradient passes unchanged, as if the gain were one. For two gains that cancel, of
            the input and of the output of a function, the product is the same, and no factor near the limits of
            floating-point numbers is applied to it.
    """
    gain = gain.view(-1, *[1] * (tensor.dim() - 1))
    if keep_gradient and torch.is_grad_enabled() and tensor.requires_grad:
        return tensor.detach() * gain + (tensor - tensor.detach())
    return tensor * gain
