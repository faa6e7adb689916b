"""Ideal ratio masks, computed from the true sources."""

from typing import Unpack

from torch import Tensor

from torchsep.checks import check_choice
from torchsep.functional.magnitude import magnitude, phase_sensitive_magnitude
from torchsep.functional.masks import ratio_masks
from torchsep.separators.bases.mask_separator import MaskOptions, MaskSeparator
from torchsep.typing import Masks, Spectrogram

__all__ = ["IdealRatioMask"]


class IdealRatioMask(MaskSeparator):
    """Ideal ratio mask: an oracle that applies soft masks computed from the true sources.

    The upper bound of methods that keep the mixture's phase.

    Args:
        approach: ``psa`` (phase-sensitive approximation), see
            :func:`torchsep.functional.phase_sensitive_magnitude`, or ``msa`` (magnitude spectrum approximation).
        options: arguments of :class:`MaskSeparator`.

    Shape:
        ``(B, C, T)`` and ``sources (B, S, C, T) -> (B, S, C, T)``, in the order given.

    Gradient:
        Exact with respect to the mixture and the sources.

    Example:
        >>> sources = torch.randn(1, 3, 2, 4000)
        >>> estimates = IdealRatioMask(sample_rate=8000)(sources.sum(1), sources=sources)
        >>> torch.allclose(estimates.sum(1), sources.sum(1), atol=1e-5)
        True

    References:
        H. Erdogan, J. R. Hershey, S. Watanabe and J. Le Roux, "Phase-sensitive and recognition-boosted speech
        separation using deep recurrent neural networks", ICASSP 2015.
    """

    requires = ("sources",)

    def __init__(
        self,
        approach: str = "psa",
        **options: Unpack[MaskOptions],
    ) -> None:
        super().__init__(**options)
        check_choice(approach, ("psa", "msa"), "approach")
        self.approach = approach

    def masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """The ratio masks of the true sources."""
        sources = self.stft(required["sources"])
        if self.approach == "msa":
            return ratio_masks(magnitude(sources))
        return ratio_masks(phase_sensitive_magnitude(sources, spectrogram[:, None]))
