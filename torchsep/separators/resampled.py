"""A separator for mixtures of another sample rate than its own."""

from typing import Any

from torch import Tensor

from torchsep.separators.bases.separator import Separator
from torchsep.typing import Estimates, Waveform

__all__ = ["Resampled"]


class Resampled(Separator):
    """Separate at another sample rate: that for which a network was trained, or a lower one to save time.

    The mixture is brought to the rate of the separator, and its sources back to that of the mixture. What lies above
    half of the lower rate is lost.

    Args:
        separator: what separates, at its own rate.
        sample_rate: of the mixtures and the estimates, in Hz.

    Shape:
        ``(B, C, T) -> (B, S, C, T)``, with the sources of the separator, which also says what else a call needs.

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
        # Also where it works at a lower rate: what goes in and out is at this one.
        self.bytes_per_sample = separator.bytes_per_sample * max(1.0, separator.sample_rate / sample_rate)

    def separate(self, mixture: Waveform, **required: Tensor) -> Estimates:
        """Resample, separate, and resample back."""
        from torchsep.audio import resample

        inside = self.separator.sample_rate

        def there(waveform: Tensor) -> Any:
            return resample(waveform, self.sample_rate, inside)

        estimates = self.separator(there(mixture), **{name: there(tensor) for name, tensor in required.items()})
        return resample(estimates, inside, self.sample_rate)[..., : mixture.shape[-1]]
