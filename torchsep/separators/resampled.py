"""Separation at another sample rate than that of the mixtures."""

from typing import Any

from torch import Tensor

from torchsep.functional import resample
from torchsep.separators.bases.separator import Separator
from torchsep.typing import Estimates, Waveform

__all__ = ["Resampled"]


class Resampled(Separator):
    """Apply a separator at its own sample rate, such as that of a network's training data, or a lower one to save time.

    The mixture is resampled to the rate of the separator, and the estimates back to that of the mixture. Frequencies
    above half of the lower rate are lost.

    Args:
        separator: separator with its own sample rate.
        sample_rate: sample rate of the mixtures and the estimates, in Hz.

    Shape:
        ``(B, C, T) -> (B, S, C, T)``, with the sources and required tensors of the separator.

    Gradient:
        That of the separator; resampling is linear.

    Example:
        >>> separator = Resampled(HPSS(sample_rate=8000), sample_rate=44100)
        >>> separator(torch.ones(2, 44100)).shape
        torch.Size([2, 2, 44100])
    """

    conservative = False

    def __init__(self, separator: Separator, *, sample_rate: int) -> None:
        super().__init__(sample_rate=sample_rate)
        if not isinstance(separator, Separator):
            raise ValueError(f"separator must be a separator, got {separator!r}")
        self.separator = separator
        self.names = separator.names
        self.channels = separator.channels
        self.requires = separator.requires
        self.differentiable = separator.differentiable
        self.autocast = separator.autocast
        # Not less at a lower rate, since mixture and estimates have the outer rate.
        self.bytes_per_sample = separator.bytes_per_sample * max(1.0, separator.sample_rate / sample_rate)

    def separate(self, mixture: Waveform, **required: Tensor) -> Estimates:
        """Resample, separate, and resample back."""
        inner_rate = self.separator.sample_rate

        def resampled(waveform: Tensor) -> Any:
            return resample(waveform, self.sample_rate, inner_rate)

        estimates = self.separator(resampled(mixture), **{name: resampled(tensor) for name, tensor in required.items()})
        return resample(estimates, inner_rate, self.sample_rate)[..., : mixture.shape[-1]]
