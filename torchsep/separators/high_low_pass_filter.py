"""Separation at a frequency: the simplest baseline."""

from collections.abc import Mapping
from typing import Unpack

import torch
from torch import Tensor

from torchsep.functional.masks import high_pass_mask
from torchsep.separators.bases.mask_separator import FrontEndOptions, MaskSeparator
from torchsep.separators.bases.trainable import Interval
from torchsep.typing import Masks, Spectrogram

__all__ = ["HighLowPassFilter"]


class HighLowPassFilter(MaskSeparator):
    """Split a mixture at a frequency.

    The lower baseline of separation: what a method must beat to be worth its while. The masks are those of
    :func:`high_pass_mask`; binary ones cut at the frequency itself.

    Args:
        cutoff_hz: frequency of the cut, from 0 to half the sample rate.
        mask_type: ``binary`` or ``soft``.
        options: arguments of :class:`MaskSeparator`.

    Shape:
        ``(B, C, T) -> (B, 2, C, T)``, low and high.

    Gradient:
        Exact; into the cutoff straight through with binary masks.

    Example:
        >>> separator = HighLowPassFilter(cutoff_hz=1000.0, sample_rate=8000)
        >>> tone = torch.sin(2 * torch.pi * 2000 / 8000 * torch.arange(4000))[None]
        >>> low, high = separator(tone)
        >>> low.square().mean().item() < 1e-4 * high.square().mean().item()
        True
    """

    names = ("low", "high")
    trainable_parameters: Mapping[str, Interval] = {"cutoff_hz": Interval(0.0)}

    cutoff_hz: float | Tensor

    def __init__(
        self,
        cutoff_hz: float,
        *,
        mask_type: str = "binary",
        **options: Unpack[FrontEndOptions],
    ) -> None:
        super().__init__(mask_type=mask_type, **options)
        self.trainable_parameters = {"cutoff_hz": Interval(0.0, self.sample_rate / 2)}
        self.cutoff_hz = cutoff_hz

    def masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """Weigh each bin by its frequency."""
        frequencies = self.stft.frequencies(self.sample_rate).to(spectrogram.device, spectrogram.real.dtype)
        high = high_pass_mask(frequencies, self.cutoff_hz)
        masks = torch.stack((1 - high, high))[None, :, None, :, None]
        return masks.expand(len(spectrogram), -1, -1, -1, spectrogram.shape[-1])
