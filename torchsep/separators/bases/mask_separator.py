"""The base class of separators by time-frequency masking."""

from abc import abstractmethod
from typing import Unpack, final

import torch
from torch import Tensor

from torchsep.checks import check_number
from torchsep.functional.masks import binary_masks
from torchsep.separators.bases.mask_type import WithMaskType
from torchsep.separators.bases.separator import Separator, SeparatorOptions
from torchsep.transforms import STFT
from torchsep.typing import Estimates, Masks, Spectrogram, Waveform

__all__ = ["FrontEndOptions", "MaskOptions", "MaskSeparator"]


class FrontEndOptions(SeparatorOptions, total=False):
    """Keyword arguments of :class:`MaskSeparator` except ``mask_type``, for subclasses with another default."""

    mask_threshold: float
    stft: STFT | None


class MaskOptions(FrontEndOptions, total=False):
    """Keyword arguments of :class:`MaskSeparator`, which subclasses pass on."""

    mask_type: str


class MaskSeparator(WithMaskType, Separator):
    """Separate by time-frequency masking.

    A subclass writes :meth:`masks`. This class makes them binary if ``mask_type`` is ``binary``, multiplies the
    mixture's spectrogram by them and applies the inverse STFT.

    Args:
        mask_type: ``soft`` masks, or ``binary`` masks, which assign each bin to one source.
        mask_threshold: threshold from 0 to 1 of the binary masks of two sources: the second source (the foreground)
            is assigned the bins in which its soft mask is above it. With more sources, the largest mask is chosen.
        stft: front end; :meth:`STFT.from_sample_rate` if None.
        options: arguments of :class:`Separator`.
    """

    last_is_residual: bool = False
    """Whether the masks sum to one, so that the last estimate is the mixture minus the others, without inverse STFT."""

    def __init__(
        self,
        *,
        mask_type: str = "soft",
        mask_threshold: float = 0.5,
        stft: STFT | None = None,
        **options: Unpack[SeparatorOptions],
    ) -> None:
        super().__init__(**options)
        check_number(mask_threshold, "mask_threshold", at_least=0.0, at_most=1.0)
        if stft is not None and not isinstance(stft, STFT):
            raise ValueError(f"stft must be an STFT or None, got {stft!r}")
        self.mask_type = mask_type
        self.mask_threshold = mask_threshold
        self.stft = STFT.from_sample_rate(self.sample_rate) if stft is None else stft

    @abstractmethod
    def masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """The soft masks of the sources, in [0, 1], given the mixture's spectrogram."""

    @final
    def final_masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """The masks that are applied: those of :meth:`masks`, binarised if ``mask_type`` is ``binary``."""
        masks = self.masks(spectrogram, **required)
        batch, channels, *bins_and_frames = spectrogram.shape
        outer = (masks.shape[0], *masks.shape[3:])
        if masks.dim() != 5 or outer != (batch, *bins_and_frames) or masks.shape[2] not in {1, channels}:
            wanted = f"(B, S, C, F, N) for spectrogram {tuple(spectrogram.shape)}"
            raise ValueError(f"{type(self).__name__}.masks must return {wanted}, got {tuple(masks.shape)}")
        return self._hardened(masks)

    def leading_masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """All final masks but the last, for separators whose last source is the residual."""
        return self.final_masks(spectrogram, **required)[:, :-1]

    @final
    def separate(self, mixture: Waveform, **required: Tensor) -> Estimates:
        """Apply the masks to the mixture's spectrogram and invert it."""
        spectrogram = self.stft(mixture)
        masks = (self.leading_masks if self.last_is_residual else self.final_masks)(spectrogram, **required)
        return self._applied(masks, spectrogram, mixture)

    @final
    def apply_masks(self, masks: Masks, spectrogram: Spectrogram, mixture: Waveform) -> Estimates:
        """The estimates of given soft masks: the steps of :meth:`separate` after :meth:`masks`.

        Args:
            masks: soft masks of all sources.
            spectrogram: spectrogram of the mixture.
            mixture: waveform of the mixture.
        """
        final = self._hardened(masks)
        return self._applied(final[:, :-1] if self.last_is_residual else final, spectrogram, mixture)

    def _hardened(self, masks: Masks) -> Masks:
        return binary_masks(masks, self.mask_threshold) if self.mask_type == "binary" else masks

    def _applied(self, masks: Masks, spectrogram: Spectrogram, mixture: Waveform) -> Estimates:
        """The masked sources, followed by the residual if ``last_is_residual``."""
        masked = self.stft.inverse(spectrogram[:, None], mixture.shape[-1], masks)
        if not self.last_is_residual:
            return masked
        return torch.cat((masked, mixture[:, None] - masked.sum(1, keepdim=True)), 1)
