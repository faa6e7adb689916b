"""Ideal binary masks, computed from the true sources."""

from typing import Unpack

from torch import Tensor

from torchsep.functional.magnitude import magnitude
from torchsep.functional.masks import ratio_masks
from torchsep.separators.bases.mask_separator import FrontEndOptions, MaskSeparator
from torchsep.typing import Masks, Spectrogram

__all__ = ["IdealBinaryMask"]


class IdealBinaryMask(MaskSeparator):
    """Ideal binary mask: an oracle that assigns each bin to its dominant true source.

    The upper bound of methods that cluster bins. Of equally loud sources the first is assigned the bin.

    Args:
        mask_type: ``binary``, or ``soft`` for the ratio of magnitudes.
        options: arguments of :class:`MaskSeparator`.

    Shape:
        ``(B, C, T)`` and ``sources (B, S, C, T) -> (B, S, C, T)``, in the order given.

    Gradient:
        Exact with respect to the mixture; straight-through estimator with respect to the sources.

    Example:
        >>> import torch
        >>> sources = torch.randn(1, 3, 2, 4000)
        >>> estimates = IdealBinaryMask(sample_rate=8000)(sources.sum(1), sources=sources)
        >>> torch.allclose(estimates.sum(1), sources.sum(1), atol=1e-5)
        True

    References:
        D. Wang, "On ideal binary mask as the computational goal of auditory scene analysis", 2005.
    """

    requires = ("sources",)

    def __init__(
        self,
        *,
        mask_type: str = "binary",
        **options: Unpack[FrontEndOptions],
    ) -> None:
        super().__init__(mask_type=mask_type, **options)

    def masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """The ratio masks of the true sources' magnitudes."""
        return ratio_masks(magnitude(self.stft(required["sources"])))
