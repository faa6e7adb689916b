"""The base class of separators of background and foreground."""

from abc import abstractmethod
from typing import Unpack, final

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_number
from torchsep.functional.masks import complementary_masks
from torchsep.separators.bases.mask_separator import MaskOptions, MaskSeparator
from torchsep.typing import Masks, Spectrogram

__all__ = ["BackgroundOptions", "BackgroundSeparator"]


class BackgroundOptions(MaskOptions, total=False):
    """Keyword arguments of :class:`BackgroundSeparator`, which subclasses pass on."""

    high_pass_cutoff_hz: float


class BackgroundSeparator(MaskSeparator):
    """Separate a background by its mask; the foreground is the residual.

    A subclass writes :meth:`background_mask`.

    Args:
        high_pass_cutoff_hz: cutoff of the foreground; bins below the one nearest to it are assigned to the background.
        options: arguments of :class:`MaskSeparator`.
    """

    names = ("background", "foreground")
    last_is_residual = True

    def __init__(self, *, high_pass_cutoff_hz: float = 100.0, **options: Unpack[MaskOptions]) -> None:
        super().__init__(**options)
        check_number(high_pass_cutoff_hz, "high_pass_cutoff_hz", at_least=0.0)
        self.high_pass_cutoff_hz = high_pass_cutoff_hz

    @abstractmethod
    def background_mask(self, spectrogram: Spectrogram) -> Float[Tensor, "B C F N"]:
        """The soft mask of the background, in [0, 1]."""

    @final
    def masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """The mask of the background, and its complement."""
        return complementary_masks(self._background(spectrogram))

    @final
    def leading_masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """The background mask only, since the foreground is the residual."""
        if self.mask_type == "binary":
            return super().leading_masks(spectrogram, **required)
        return self._background(spectrogram)[:, None]

    def _background(self, spectrogram: Spectrogram) -> Float[Tensor, "B C F N"]:
        mask = self.background_mask(spectrogram)
        low = self.stft.bins_below(self.high_pass_cutoff_hz, self.sample_rate).to(mask.device)
        if torch.compiler.is_compiling() or (torch.is_grad_enabled() and mask.requires_grad):
            return mask.masked_fill(low[:, None], 1.0)
        return torch.maximum(mask, low[:, None].to(mask.dtype))  # much faster than masked_fill on a CPU
