"""The base class of separators that tell a background from the foreground over it."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_number
from torchsep.functional.masks import with_complement
from torchsep.separators.separator import MaskSeparator
from torchsep.transforms import STFT
from torchsep.typing import Masks, Spectrogram

__all__ = ["BackgroundSeparator"]


class BackgroundSeparator(MaskSeparator):
    """Separate by the share of each bin that a background accounts for; the foreground is what it leaves.

    A subclass writes :meth:`background_mask`.

    Args:
        sample_rate: of the mixtures, in Hz.
        high_pass_cutoff: in Hz; bins below the one nearest to it belong to the background.
        mask_type: ``soft`` or ``binary``.
        mask_threshold: of a binary foreground mask, from 0 to 1.
        stft: front end; that of :meth:`STFT.from_sample_rate` if None.
        trainable: names of hyper-parameters to learn.
    """

    names = ("background", "foreground")
    last_is_rest = True

    def __init__(
        self,
        *,
        sample_rate: int,
        high_pass_cutoff: float = 100.0,
        mask_type: str = "soft",
        mask_threshold: float = 0.5,
        stft: STFT | None = None,
        trainable: Sequence[str] = (),
    ) -> None:
        super().__init__(
            sample_rate=sample_rate, mask_type=mask_type, mask_threshold=mask_threshold, stft=stft, trainable=trainable
        )
        check_number(high_pass_cutoff, "high_pass_cutoff", at_least=0.0)
        self.high_pass_cutoff = high_pass_cutoff

    @abstractmethod
    def background_mask(self, spectrogram: Spectrogram) -> Float[Tensor, "B C F N"]:
        """The share of the background in each bin, in [0, 1]."""

    @final
    def masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """The mask of the background, and what it leaves."""
        return with_complement(self._background(spectrogram))

    @final
    def leading_masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """The mask of the background alone, as all of the foreground follows from it."""
        if self.mask_type == "binary":
            return super().leading_masks(spectrogram, **required)
        return self._background(spectrogram)[:, None]

    def _background(self, spectrogram: Spectrogram) -> Float[Tensor, "B C F N"]:
        mask = self.background_mask(spectrogram)
        low = self.stft.bins_below(self.high_pass_cutoff, self.sample_rate).to(mask.device)
        if torch.compiler.is_compiling() or (torch.is_grad_enabled() and mask.requires_grad):
            return mask.masked_fill(low[:, None], 1.0)
        return torch.maximum(mask, low[:, None].to(mask.dtype))  # many times faster than filling them in
