"""Items whose level, or a part of which, is near the limits of floating-point numbers."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.checks import has_values

__all__ = ["INAUDIBLE", "apply_gain", "usual_level_gain", "without_inaudible"]

INAUDIBLE = 2.0**-45
"""Amplitude relative to the peak of an item, -271 dB, below which samples are zero: squares would underflow."""

_USUAL = 2.0**16  # items whose peak is from its reciprocal to this are not scaled

# Exponents of the factors that bring a peak to about one; each applies where it reduces the peak's exponent.
_EXPONENTS = {torch.float32: (96, 48, 24, 12), torch.float64: (768, 384, 192, 96, 48, 24, 12)}
_LARGEST = {torch.float32: 2.0**126, torch.float64: 2.0**1020}  # whose reciprocal is a normal number too


def usual_level_gain(tensors: Sequence[Tensor]) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """The power of two that brings the peak of each item to about one if it is far from it, and the resulting peak.

    The gain is one for usual levels (2^-16 to 2^16), silence and items that are not finite. Powers of two change no
    digit, so the estimates of a scaled item are those of the item, without overflow and underflow of squares and
    products. No value is read back from the device.

    Args:
        tensors: tensors ``(B, ...)`` in single or double precision, whose items are scaled jointly.

    Example:
        >>> gain, peak = usual_level_gain([torch.tensor([[1.0], [2.0**100], [0.0], [2.0**-140]])])
        >>> gain.log2(), peak.log2()
        (tensor([  0., -96.,   0., 126.]), tensor([  0.,   4., -inf, -14.]))
    """
    detached = [tensor.detach().flatten(1) for tensor in tensors]
    peak = torch.stack([torch.maximum(flat.amax(1), -flat.amin(1)) for flat in detached]).amax(0)
    far = ((peak > _USUAL) | (peak < 1 / _USUAL)) & (peak > 0) & (peak < torch.inf)
    one = torch.ones_like(peak)
    gain, left = one, torch.where(far, peak, one)
    for exponent in _EXPONENTS[peak.dtype]:
        limit = 2.0 ** (exponent * 2 // 3)
        factor = torch.where(left > limit, 2.0**-exponent, one)
        factor = torch.where(left < 1 / limit, 2.0**exponent, factor)
        left, gain = left * factor, gain * factor
    largest = _LARGEST[peak.dtype]
    gain = gain.clamp(1 / largest, largest)
    return gain, peak * gain


def apply_gain(tensor: Tensor, gain: Float[Tensor, " B"], *, keep_gradient: bool) -> Tensor:
    """The items of a tensor ``(B, ...)`` multiplied by gains; the tensor itself on a CPU if all are one, as usual.

    Args:
        tensor: items.
        gain: gain of each item.
        keep_gradient: whether the gradient passes unchanged, as if the gain were one. For two gains that cancel, of
            the input and of the output of a function, the product is the same, and no factor near the limits of
            floating-point numbers is applied to it.
    """
    if gain.device.type == "cpu" and not torch.compiler.is_compiling() and has_values(gain) and bool((gain == 1).all()):
        return tensor
    gain = gain.view(-1, *[1] * (tensor.dim() - 1))
    if keep_gradient and torch.is_grad_enabled() and tensor.requires_grad:
        return tensor.detach() * gain + (tensor - tensor.detach())
    return tensor * gain


def without_inaudible(tensor: Tensor, peak: Float[Tensor, " B"]) -> Tensor:
    """The items of a real or complex tensor ``(B, ...)`` with values below ``INAUDIBLE`` of a peak set to zero.

    So a channel that holds the denormal tail of a filter is a silent one. Values that are not finite are kept.

    Gradient:
        That of the identity.

    Example:
        >>> without_inaudible(torch.tensor([[1.0, 1e-30], [1e-30, 1e-35]]), torch.tensor([1.0, 1e-30]))
        tensor([[1.0000e+00, 0.0000e+00],
                [1.0000e-30, 1.0000e-35]])
    """
    least = (INAUDIBLE * peak).view(-1, *[1] * (tensor.dim() - 1))
    if torch.is_grad_enabled() and tensor.requires_grad:
        detached = tensor.detach()
        return tensor - torch.where(detached.abs() < least, detached, 0.0)
    return tensor.masked_fill(tensor.abs() < least, 0.0)
