"""Low-pass and high-pass filtering at a cutoff frequency: the simplest baseline."""

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
    """Separate low from high frequencies by a low-pass and a high-pass filter with the same cutoff.

    A lower baseline of separation. The masks are those of :func:`high_pass_mask`; binary masks change exactly at the
    cutoff.

    Args:
        cutoff_hz: cutoff frequency, from 0 to half the sample rate.
        mask_type: ``binary`` or ``soft``.
        options: arguments of :class:`MaskSeparator`.

    Shape:
        ``(B, C, T) -> (B, 2, C, T)``, low and high.

    Gradient:
        Exact; for the cutoff of binary masks, a straight-through estimator.

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
        """The low-pass and the high-pass mask."""
        frequencies = self.stft.frequencies(self.sample_rate).to(spectrogram.device, spectrogram.real.dtype)
        high = high_pass_mask(frequencies, self.cutoff_hz)
        masks = torch.stack((1 - high, high))[None, :, None, :, None]
        return masks.expand(len(spectrogram), -1, -1, -1, spectrogram.shape[-1])
