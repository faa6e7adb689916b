"""The oracle of soft masks."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from torchsep.checks import check_choice
from torchsep.functional.masks import ratio_masks
from torchsep.functional.parts import in_parts, magnitude
from torchsep.separators.separator import MaskSeparator
from torchsep.transforms import STFT
from torchsep.typing import Masks, Spectrogram

__all__ = ["IdealRatioMask", "phase_sensitive_magnitude"]


def phase_sensitive_magnitude(
    source: Complex[Tensor, "*any"], mixture: Complex[Tensor, "*any"]
) -> Float[Tensor, "*any"]:
    r"""What of a source's bin points in the mixture's direction, :math:`|S| \cos(\angle S - \angle X)`.

    Truncated to :math:`[0, |X|]`, so that no mask made of it amplifies.

    Example:
        >>> phase_sensitive_magnitude(torch.tensor([1j, 0.5, 3.0 + 1j]), torch.tensor([1.0, 1.0, 2.0 + 0j]))
        tensor([0.0000, 0.5000, 2.0000])
    """

    def along(source: Tensor, mixture: Tensor) -> Tensor:
        magnitude = mixture.abs()
        projected = (source * mixture.conj()).real / magnitude.masked_fill(magnitude == 0, 1.0)
        return torch.minimum(projected.clamp(min=0.0), magnitude)

    return in_parts(along, source, mixture)


class IdealRatioMask(MaskSeparator):
    """Separate with the best soft masks that the true sources allow.

    The upper baseline of all methods that keep the mixture's phase.

    Args:
        sample_rate: of the mixtures, in Hz.
        approach: ``psa``, by the part of each source in phase with the mixture (:func:`phase_sensitive_magnitude`),
            or ``msa``, by magnitudes.
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
