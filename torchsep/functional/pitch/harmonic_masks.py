"""Harmonic masks of a melody, and the spectral envelope of a vowel."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["harmonic_mask", "vowel_envelope"]

_TOLERANCE = 50.0  # cents: half a semitone, the accuracy of a pitch estimate


def harmonic_mask(
    melody: Float[Tensor, "B 1 1 N"], frequencies_hz: Float[Tensor, "F 1"], half_width: float, num_overtones: int
) -> Float[Tensor, "B 1 F N"]:
    r"""The mask of the harmonics of a melody, by the distance of each bin from the nearest harmonic.

    It is one within 50 cents of a harmonic and falls to zero within half a main lobe beyond:

    .. math::
        M = \max_h \cos^2\left(\frac{\pi}{2} \min\left(1,
            \frac{\max(0, |f - h f_0| - 0.029 h f_0)}{w}\right)\right)

    The lobes widen with the harmonic number, as do the effects of pitch changes and pitch errors.

    Args:
        melody: pitch :math:`f_0` in Hz, zero where unvoiced.
        frequencies_hz: centre frequencies :math:`f` of the bins, in Hz.
        half_width: half width :math:`w` of a main lobe, in Hz.
        num_overtones: number of harmonics, including the fundamental.

    Example:
        >>> frequencies_hz = torch.tensor([90.0, 100.0, 150.0, 190.0, 200.0])[:, None]
        >>> melody = torch.tensor([100.0, 0.0]).view(1, 1, 1, 2)
        >>> harmonic_mask(melody, frequencies_hz, half_width=10.0, num_overtones=2)[0, 0].round(decimals=2).mT
        tensor([[0.2000, 1.0000, 0.0000, 0.6300, 1.0000],
                [0.0000, 0.0000, 0.0000, 0.0000, 0.0000]])
    """
    voiced = melody > 0
    melody = melody.where(voiced, 1.0)
    below = (frequencies_hz / melody).floor().clamp_(1, num_overtones)
    # The lobe of the harmonic above is wider: its edge may be nearer even if its centre is not.
    above = (below + 1).clamp_(max=num_overtones)
    excess = torch.minimum(_excess(frequencies_hz, below * melody), _excess(frequencies_hz, above * melody))
    lobe = torch.cos((0.5 * math.pi / half_width) * excess.clamp(0.0, half_width)).square()
    return lobe * voiced


def _excess(frequencies_hz: Tensor, harmonic: Tensor) -> Tensor:
    """The distance of bins from the tolerance band of a harmonic, in Hz."""
    return (frequencies_hz - harmonic).abs_() - (2 ** (_TOLERANCE / 1200) - 1) * harmonic


def vowel_envelope(frequencies_hz: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    r"""The spectral envelope of a neutral vowel, one at its formants.

    A uniform vocal tract of 17.5 cm, closed at the glottis, resonates at 500 Hz and its odd multiples. With losses
    :math:`d = 1/2`:

    .. math::
        E(f) = \frac{d}{\sqrt{d^2 + \cos^2(\pi f / 1000)}}

    Args:
        frequencies_hz: frequencies in Hz.

    Example:
        >>> vowel_envelope(torch.tensor([0.0, 250.0, 500.0, 1500.0])).round(decimals=2)
        tensor([0.4500, 0.5800, 1.0000, 1.0000])

    References:
        G. Fant, "Acoustic Theory of Speech Production", Mouton, 1960.
    """
    return 0.5 * (0.25 + torch.cos(math.pi / 1000 * frequencies_hz).square()).rsqrt()
