"""Time-frequency masks from magnitude models of the sources."""

from collections.abc import Sequence
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional._chunks import map_frames

__all__ = [
    "binary_masks",
    "clipped_ratio_mask",
    "clipped_ratio_masks",
    "complementary_masks",
    "high_pass_mask",
    "ratio_masks",
    "soft_mask",
    "stack_masks",
]


def soft_mask(
    model: Float[Tensor, "*any"], residual: Float[Tensor, "*any"], power: float | Tensor = 1.0, silent: float = 0.5
) -> Float[Tensor, "*any"]:
    r"""The soft mask of a source from its model and that of the residual, :math:`A^p / (A^p + B^p)`.

    Both are divided by their maximum first, so that powers do not overflow at any level.

    Args:
        model: non-negative magnitudes :math:`A` of the source.
        residual: non-negative magnitudes :math:`B` of the residual.
        power: exponent :math:`p`; two gives Wiener-like masks, large values nearly binary ones.
        silent: the mask where both models are zero.

    Gradient:
        Exact; zero where both models are zero.

    Example:
        >>> soft_mask(torch.tensor([3.0, 0.0, 1e-30]), torch.tensor([1.0, 0.0, 1e-30]), power=2.0)
        tensor([0.9000, 0.5000, 0.5000])
    """
    model, residual = torch.broadcast_tensors(model, residual)

    def mask(model: Tensor, residual: Tensor) -> Tensor:
        scale, is_silent = _scale(torch.maximum(model.detach(), residual.detach()))
        own, other = _raised(model / scale, power), _raised(residual / scale, power)
        return (own / (own + other).masked_fill(is_silent, 1.0)).masked_fill(is_silent, silent)

    if isinstance(power, Tensor) and power.requires_grad and torch.is_grad_enabled():
        return mask(model, residual)
    return map_frames(mask, model, residual)


def ratio_masks(models: Float[Tensor, "*any"], power: float | Tensor = 1.0, dim: int = -4) -> Float[Tensor, "*any"]:
    r"""The ratio mask of each source from the models of all, :math:`V_s^p / \sum_r V_r^p`.

    Where all models are zero, the masks are equal, so they sum to one everywhere.

    Args:
        models: non-negative magnitudes :math:`V_s` of the sources.
        power: exponent :math:`p`.
        dim: source axis.

    Gradient:
        Exact; zero where all models are zero.

    Example:
        >>> ratio_masks(torch.tensor([[3.0, 0.0], [1.0, 0.0]]), dim=0)
        tensor([[0.7500, 0.5000],
                [0.2500, 0.5000]])
    """

    def masks(models: Tensor) -> Tensor:
        # Source by source, since torch's reductions over an outer axis are many times slower.
        scale, is_silent = _scale(reduce(torch.maximum, models.detach().unbind(dim)).unsqueeze(dim))
        raised = _raised(models / scale, power)
        total = reduce(torch.add, raised.unbind(dim)).unsqueeze(dim).masked_fill(is_silent, 1.0)
        return (raised / total).masked_fill(is_silent, 1 / models.shape[dim])

    recorded = isinstance(power, Tensor) and power.requires_grad and torch.is_grad_enabled()
    if recorded or dim % models.dim() == models.dim() - 1:
        return masks(models)
    return map_frames(masks, models)


def clipped_ratio_mask(
    model: Float[Tensor, "*any F N"], magnitude: Float[Tensor, "*any F N"]
) -> Float[Tensor, "*any F N"]:
    r"""The ratio of a background model to the mixture, clipped to one, :math:`\min(S, V) / V`.

    Args:
        model: non-negative magnitudes :math:`S` of the background.
        magnitude: non-negative magnitudes :math:`V` of the mixture. Where they are zero the mask is one.

    Gradient:
        Exact; zero where the mixture is zero.

    Example:
        >>> clipped_ratio_mask(torch.tensor([1.0, 3.0, 1.0]), torch.tensor([4.0, 2.0, 0.0]))
        tensor([0.2500, 1.0000, 1.0000])
    """

    def mask(model: Tensor, magnitude: Tensor) -> Tensor:
        silent = magnitude == 0
        return (torch.minimum(model, magnitude) / magnitude.masked_fill(silent, 1.0)).masked_fill(silent, 1.0)

    return map_frames(mask, model, magnitude)


def stack_masks(masks: Sequence[Float[Tensor, "B C F N"]]) -> Float[Tensor, "B S C F N"]:
    """The masks of all sources as one tensor with the memory layout of spectrograms, which is faster to apply.

    Args:
        masks: mask of each source.

    Example:
        >>> stack_masks([torch.zeros(2, 1, 5, 3), torch.ones(2, 1, 5, 3)]).shape
        torch.Size([2, 2, 1, 5, 3])
    """
    return torch.stack([mask.mT for mask in masks], dim=1).mT


def complementary_masks(mask: Float[Tensor, "B C F N"]) -> Float[Tensor, "B 2 C F N"]:
    """The masks of two sources: a mask and its complement.

    Args:
        mask: mask of the first source, in [0, 1].

    Example:
        >>> complementary_masks(torch.tensor([[[[1.0], [0.25]]]])).flatten(0, 2).squeeze()
        tensor([[1.0000, 0.2500],
                [0.0000, 0.7500]])
    """
    if torch.compiler.is_compiling() or (torch.is_grad_enabled() and mask.requires_grad):
        return stack_masks((mask, 1 - mask))
    batch, channels, bins, frames = mask.shape
    both = mask.new_empty(batch, 2, channels, frames, bins).mT
    both[:, 0] = mask
    torch.sub(mask.new_ones(()), mask, out=both[:, 1])
    return both


def binary_masks(masks: Float[Tensor, "*any"], threshold: float = 0.5, dim: int = -4) -> Float[Tensor, "*any"]:
    """Binary masks from soft masks: each bin is assigned to exactly one source.

    Of two sources, the second (the foreground) is assigned a bin if its mask is above the threshold. Of more sources,
    the one with the largest mask is chosen, the first one of equal masks.

    Args:
        masks: soft masks.
        threshold: threshold from 0 to 1, used for two sources.
        dim: source axis.

    Gradient:
        Straight-through estimator: that of the soft masks.

    Example:
        >>> binary_masks(torch.tensor([[0.5, 0.3], [0.5, 0.7]]), dim=0)
        tensor([[1., 0.],
                [0., 1.]])
    """

    def harden(masks: Tensor) -> Tensor:
        if masks.shape[dim] == 2:
            assigned = (masks.detach().narrow(dim, 1, 1) > threshold).long()
        else:
            assigned = masks.detach().argmax(dim, keepdim=True)
        shape = [1] * masks.dim()
        shape[dim] = masks.shape[dim]
        hard = (assigned == torch.arange(masks.shape[dim], device=masks.device).view(shape)).to(masks.dtype)
        return hard + (masks - masks.detach()) if masks.requires_grad else hard

    return harden(masks) if dim % masks.dim() == masks.dim() - 1 else map_frames(harden, masks)


def clipped_ratio_masks(
    estimates: Float[Tensor, "B S C F N"], mixture: Float[Tensor, "B C F N"]
) -> Float[Tensor, "B S C F N"]:
    """The ratio of each estimate to the mixture, clipped to one; equal values where the mixture is silent.

    Args:
        estimates: magnitude spectrograms of the estimates.
        mixture: magnitude spectrogram of the mixture.

    Gradient:
        Exact; zero where the ratio is clipped.

    Example:
        >>> clipped_ratio_masks(torch.tensor([[[[[1.0]]], [[[9.0]]]]]), torch.tensor([[[[4.0]]]])).flatten()
        tensor([0.2500, 1.0000])
    """
    mixture = mixture[:, None]
    silent = mixture == 0
    ratio = torch.minimum(estimates, mixture) / mixture.masked_fill(silent, 1.0)
    return ratio.masked_fill(silent, 1 / estimates.shape[1])


def high_pass_mask(frequencies_hz: Float[Tensor, " F"], cutoff_hz: float | Tensor) -> Float[Tensor, " F"]:
    r"""The power response of a fourth-order Butterworth high-pass filter, :math:`f^8 / (f^8 + f_c^8)`.

    Args:
        frequencies_hz: frequencies :math:`f`.
        cutoff_hz: cutoff frequency :math:`f_c`, at which the power is halved.

    Example:
        >>> high_pass_mask(torch.tensor([0.0, 100.0, 1000.0]), cutoff_hz=100.0)
        tensor([0.0000, 0.5000, 1.0000])
    """
    cutoff = torch.as_tensor(cutoff_hz, device=frequencies_hz.device).to(frequencies_hz)
    return soft_mask(frequencies_hz, cutoff.expand_as(frequencies_hz), power=8.0)


def _scale(largest: Tensor) -> tuple[Tensor, Tensor]:
    """Divisors that scale the largest model to one, and where all models are silent."""
    is_silent = largest < torch.finfo(largest.dtype).tiny
    return largest.masked_fill(is_silent, 1.0), is_silent


def _raised(values: Tensor, power: float | Tensor) -> Tensor:
    """Values to a power; zeros have a zero gradient, also for powers below one."""
    if not torch.is_grad_enabled() or not (values.requires_grad or isinstance(power, Tensor)):
        return values if isinstance(power, float) and power == 1.0 else values**power
    zero = values == 0
    return (values.masked_fill(zero, 1.0) ** power).masked_fill(zero, 0.0)
