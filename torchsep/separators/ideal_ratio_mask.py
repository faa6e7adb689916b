"""The oracle of soft masks."""

from torch import Tensor

from torchsep.checks import check_choice
from torchsep.functional.masks import ratio_masks
from torchsep.functional.parts import magnitude
from torchsep.functional.phase_sensitivity import phase_sensitive_magnitude
from torchsep.separators.separator import MaskSeparator
from torchsep.transforms import STFT
from torchsep.typing import Masks, Spectrogram

__all__ = ["IdealRatioMask"]


class IdealRatioMask(MaskSeparator):
    """Separate with the best soft masks that the true sources allow.

    The upper baseline of all methods that keep the mixture's phase.

    Args:
        sample_rate: of the mixtures, in Hz.
        approach: ``psa``, by the part of each source in phase with the mixture, see
            :func:`torchsep.functional.phase_sensitive_magnitude`, or ``msa``, by magnitudes.
        mask_type: ``soft`` or ``binary``.
        mask_threshold: of the binary mask of the second of two sources, from 0 to 1.
        stft: front end; that of :meth:`STFT.from_sample_rate` if None.

    Shape:
        ``(B, C, T)`` and ``sources (B, S, C, T) -> (B, S, C, T)``, in the order given.

    Gradient:
        Exact, into the mixture and the sources.

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
        *,
        sample_rate: int,
        mask_type: str = "soft",
        mask_threshold: float = 0.5,
        stft: STFT | None = None,
    ) -> None:
        super().__init__(sample_rate=sample_rate, mask_type=mask_type, mask_threshold=mask_threshold, stft=stft)
        check_choice(approach, ("psa", "msa"), "approach")
        self.approach = approach

    def masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """Weigh each source's share of each bin."""
        sources = self.stft(required["sources"])
        if self.approach == "msa":
            return ratio_masks(magnitude(sources))
        return ratio_masks(phase_sensitive_magnitude(sources, spectrogram[:, None]))
