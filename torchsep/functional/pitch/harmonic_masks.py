"""Masks of the harmonics of a pitch, and the spectral envelope of a vowel."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["harmonic_mask", "vowel_envelope"]

_TOLERANCE = 50.0  # cents: what counts as one note, and the error of a pitch estimate


def harmonic_mask(
    melody: Float[Tensor, "B 1 1 N"], frequencies: Float[Tensor, "F 1"], half_width: float, num_overtones: int
) -> Float[Tensor, "B 1 F N"]:
    r"""The share of each bin that belongs to the harmonics of a melody, by its distance from the nearest.

    It is one within 50 cents of a harmonic and falls to nothing within half a main lobe more:

    .. math::
        M = \max_h \cos^2\left(\frac{\pi}{2} \min\left(1,
            \frac{\max(0, |f - h f_0| - 0.029 h f_0)}{w}\right)\right)

    So the lobes of high harmonics are wider, as a change of pitch and an error in it grow with the harmonic.

    Args:
        melody: :math:`f_0` in Hz, zero where there is none.
        frequencies: :math:`f` of bins in Hz.
        half_width: :math:`w`, of a main lobe, in Hz.
        num_overtones: harmonics, the fundamental among them.

    Example:
        >>> frequencies = torch.tensor([90.0, 100.0, 150.0, 190.0, 200.0])[:, None]
        >>> melody = torch.tensor([100.0, 0.0]).view(1, 1, 1, 2)
        >>> harmonic_mask(melody, frequencies, half_width=10.0, num_overtones=2)[0, 0].round(decimals=2).mT
        tensor([[0.2000, 1.0000, 0.0000, 0.6300, 1.0000],
                [0.0000, 0.0000, 0.0000, 0.0000, 0.0000]])
    """
    voiced = melody > 0
    melody = melody.where(voiced, 1.0)
    below = (frequencies / melody).floor().clamp_(1, num_overtones)
    # The harmonic above has the wider lobe: it may be nearer though its centre is not.
    excess = torch.minimum(
        _excess(frequencies, below * melody), _excess(frequencies, (below + 1).clamp_(max=num_overtones) * melody)
    )
    lobe = torch.cos((0.5 * math.pi / half_width) * excess.clamp(0.0, half_width)).square()
    return lobe * voiced


def _excess(frequencies: Tensor, harmonic: Tensor) -> Tensor:
    """How far bins are from what counts as a harmonic, in Hz."""
    return (frequencies - harmonic).abs_() - (2 ** (_TOLERANCE / 1200) - 1) * harmonic


def vowel_envelope(frequencies: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    r"""The formants of a neutral vowel, one at its resonances.

    A vocal tract as wide at the lips as at the glottis, closed there and 17.5 cm long, resonates at 500 Hz and its odd
    multiples. With losses :math:`d = 1/2`:

    .. math::
        E(f) = \frac{d}{\sqrt{d^2 + \cos^2(\pi f / 1000)}}

    Args:
        frequencies: in Hz.

    Example:
        >>> vowel_envelope(torch.tensor([0.0, 250.0, 500.0, 1500.0])).round(decimals=2)
        tensor([0.4500, 0.5800, 1.0000, 1.0000])

    References:
        G. Fant, "Acoustic Theory of Speech Production", Mouton, 1960.
    """
    return 0.5 * (0.25 + torch.cos(math.pi / 1000 * frequencies).square()).rsqrt()
