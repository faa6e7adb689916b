"""Harmonic-percussive masks by median filtering."""

from jaxtyping import Float
from torch import Tensor

from torchsep.functional.filters.rank_filter import median_filter
from torchsep.functional.masks import soft_mask

__all__ = ["hpss_masks"]

Pair = tuple[float | Tensor, float | Tensor]


def hpss_masks(
    magnitude: Float[Tensor, "*any F N"],
    kernel_size: tuple[int, int] = (31, 31),
    power: float | Tensor = 2.0,
    margin: Pair | None = None,
) -> tuple[Float[Tensor, "*any F N"], ...]:
    r"""The masks of harmonic sounds, smooth along time, and of percussive sounds, smooth along frequency.

    .. math::
        H_{fn} = \operatorname{median}_{|k| \le h / 2} V_{f, n + k}, \qquad
        P_{fn} = \operatorname{median}_{|k| \le p / 2} V_{f + k, n}, \qquad
        M^H = \frac{H^q}{H^q + (m P)^q}

    Args:
        magnitude: non-negative spectrogram :math:`V`.
        kernel_size: filter lengths :math:`h` in frames and :math:`p` in bins.
        power: exponent :math:`q` of the masks.
        margin: separation factors :math:`m` of the harmonic and the percussive mask; None for no residual.

    Returns:
        The harmonic and the percussive mask, and with a margin the residual mask; they sum to one.

    Example:
        >>> click = torch.zeros(5, 5)
        >>> click[:, 2] = 1.0
        >>> harmonic, percussive = hpss_masks(click, kernel_size=(3, 3))
        >>> harmonic[:, 2].sum().item(), percussive[:, 2].sum().item()
        (0.0, 5.0)
    """
    harmonic = median_filter(magnitude, kernel_size[0], dim=-1)
    percussive = median_filter(magnitude, kernel_size[1], dim=-2)
    del magnitude  # frees memory of long signals
    if margin is None:
        mask = soft_mask(harmonic, percussive, power)
        return mask, 1 - mask
    first = soft_mask(harmonic, percussive * margin[0], power, silent=0.0)
    second = soft_mask(percussive, harmonic * margin[1], power, silent=0.0)
    return first, second, (1 - first - second).clamp(min=0.0)
