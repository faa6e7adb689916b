"""Separation at a frequency: the simplest baseline."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional.masks import soft_mask
from torchsep.separators.separator import Interval, MaskSeparator
from torchsep.transforms import STFT
from torchsep.typing import Masks, Spectrogram

__all__ = ["HighLowPassFilter", "high_pass_mask"]


def high_pass_mask(frequencies: Float[Tensor, " F"], cutoff_hz: float | Tensor) -> Float[Tensor, " F"]:
    r"""The share of each frequency above a cutoff, :math:`f^8 / (f^8 + f_c^8)`: a fourth-order Butterworth filter's.

    Example:
        >>> high_pass_mask(torch.tensor([0.0, 100.0, 1000.0]), cutoff_hz=100.0)
        tensor([0.0000, 0.5000, 1.0000])
    """
    cutoff = torch.as_tensor(cutoff_hz).to(frequencies)
    return soft_mask(frequencies, cutoff.expand_as(frequencies), power=8.0)


class HighLowPassFilter(MaskSeparator):
    """Split a mixture at a frequency.

    The lower baseline of separation: what a method must beat to be worth its while. The masks are those of
    :func:`high_pass_mask`; binary ones cut at the frequency itself.

    Args:
        sample_rate: of the mixtures, in Hz.
        cutoff_hz: frequency of the cut, from 0 to half the sample rate.
        mask_type: ``binary`` or ``soft``.
        mask_threshold: of a binary high-pass mask, from 0 to 1.
        stft: front end; that of :meth:`STFT.from_sample_rate` if None.
        trainable: ``("cutoff_hz",)`` to learn it; with soft masks its gradient is exact.

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
        sample_rate: int,
        mask_type: str = "binary",
        mask_threshold: float = 0.5,
        stft: STFT | None = None,
        trainable: Sequence[str] = (),
    ) -> None:
        super().__init__(
            sample_rate=sample_rate,
            mask_type=mask_type,
            mask_threshold=mask_threshold,
            stft=stft,
            trainable=trainable,
        )
        self.trainable_parameters = {"cutoff_hz": Interval(0.0, sample_rate / 2)}
        self.cutoff_hz = cutoff_hz

    def masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """Weigh each bin by its frequency."""
        frequencies = self.stft.frequencies(self.sample_rate).to(spectrogram.device, spectrogram.real.dtype)
        high = high_pass_mask(frequencies, self.cutoff_hz)
        masks = torch.stack((1 - high, high))[None, :, None, :, None]
        return masks.expand(len(spectrogram), -1, -1, -1, spectrogram.shape[-1])
