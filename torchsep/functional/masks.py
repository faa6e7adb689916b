"""Time-frequency masks from models of the sources."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["binary_masks", "ratio_masks", "soft_mask"]


def soft_mask(
    model: Float[Tensor, "*any"], rest: Float[Tensor, "*any"], power: float | Tensor = 1.0, silent: float = 0.5
) -> Float[Tensor, "*any"]:
    r"""The share of one model in the sum of two, :math:`A^p / (A^p + B^p)`.

    Both are divided by the larger first, so that no power overflows and the level plays no part.

    Args:
        model: non-negative magnitudes :math:`A` of the source.
        rest: non-negative magnitudes :math:`B` of all else.
        power: exponent :math:`p`; two gives Wiener-like masks, large values nearly binary ones.
        silent: the mask where both models are zero.

    Gradient:
        Exact; zero where both models are.

    Example:
        >>> soft_mask(torch.tensor([3.0, 0.0, 1e-30]), torch.tensor([1.0, 0.0, 1e-30]), power=2.0)
        tensor([0.9000, 0.5000, 0.5000])
    """
    scale, is_silent = _scale(torch.maximum(model.detach(), rest.detach()))
    recorded = torch.is_grad_enabled() and any(_is_recorded(value) for value in (model, rest, power))
    other = _raised(rest / scale, power)
    own = _raised(model / scale if recorded else torch.div(model, scale, out=scale), power)
    total = _filled(own + other if recorded else other.add_(own), is_silent, 1.0)
    return _filled(own / total if recorded else own.div_(total), is_silent, silent)


def ratio_masks(models: Float[Tensor, "*any"], power: float | Tensor = 1.0, dim: int = -4) -> Float[Tensor, "*any"]:
    r"""The share of each model in the sum of all, :math:`V_s^p / \sum_r V_r^p`.

    Where all models are zero, the shares are equal, so that they add up to one everywhere.

    Args:
        models: non-negative magnitudes :math:`V_s` of the sources.
        power: exponent :math:`p`.
        dim: axis of the sources.

    Gradient:
        Exact; zero where all models are.

    Example:
        >>> ratio_masks(torch.tensor([[3.0, 0.0], [1.0, 0.0]]), dim=0)
        tensor([[0.7500, 0.5000],
                [0.2500, 0.5000]])
    """
    scale, is_silent = _scale(models.detach().amax(dim, keepdim=True))
    shares = _raised(models / scale, power)
    total = _filled(shares.sum(dim, keepdim=True), is_silent, 1.0)
    shares = shares / total if shares.requires_grad or total.requires_grad else shares.div_(total)
    return _filled(shares, is_silent, 1 / models.shape[dim])


def binary_masks(masks: Float[Tensor, "*any"], threshold: float = 0.5, dim: int = -4) -> Float[Tensor, "*any"]:
    """Masks of zeros and ones from soft ones, with exactly one owner of every bin.

    Of two sources, the second, the foreground, owns a bin where its mask is above the threshold; of several, the one
    with the largest mask, the first of those where they are equal.

    Args:
        masks: soft masks.
        threshold: from 0 to 1; used for two sources.
        dim: axis of the sources.

    Gradient:
        Straight through: that of the soft masks.

    Example:
        >>> binary_masks(torch.tensor([[0.5, 0.3], [0.5, 0.7]]), dim=0)
        tensor([[1., 0.],
                [0., 1.]])
    """
    sources = masks.shape[dim]
    if sources == 2:
        owner = (masks.detach().narrow(dim, 1, 1) > threshold).long()
    else:
        owner = masks.detach().argmax(dim, keepdim=True)
    shape = [1] * masks.dim()
    shape[dim] = sources
    hard = (owner == torch.arange(sources, device=masks.device).view(shape)).to(masks.dtype)
    return hard + (masks - masks.detach()) if masks.requires_grad else hard


def _scale(largest: Tensor) -> tuple[Tensor, Tensor]:
    """Divisors that make the largest model one, and where there is none to divide by."""
    is_silent = largest < torch.finfo(largest.dtype).tiny
    return largest.masked_fill(is_silent, 1.0), is_silent


def _raised(share: Tensor, power: float | Tensor) -> Tensor:
    """A fresh tensor to a power; a zero stays zero with a zero gradient, also below a power of one."""
    if not (_is_recorded(share) or _is_recorded(power)):
        return share if isinstance(power, float) and power == 1.0 else share.pow_(power)
    zero = share == 0
    return (share.masked_fill(zero, 1.0) ** power).masked_fill(zero, 0.0)


def _is_recorded(value: float | Tensor) -> bool:
    """Whether a gradient may flow through a value, so that it must not be changed in place."""
    return isinstance(value, Tensor) and value.requires_grad


def _filled(fresh: Tensor, where: Tensor, value: float) -> Tensor:
    """Fill in place where no gradient is recorded."""
    return fresh.masked_fill(where, value) if fresh.requires_grad else fresh.masked_fill_(where, value)
