"""Separation at another sample rate than that of the mixtures."""

from typing import Any

from torch import Tensor

from torchsep.checks import check_choice
from torchsep.functional import resample, share_high_band
from torchsep.separators.bases.separator import Separator
from torchsep.typing import Estimates, Waveform

__all__ = ["HIGH_BANDS", "Resampled"]

HIGH_BANDS = ("drop", "share")


class Resampled(Separator):
    """Apply a separator at its own sample rate, such as that of a network's training data, or a lower one to save time.

    The mixture is resampled to the rate of the separator, and the estimates back to that of the mixture. What the
    mixture has above half of the lower rate is dropped, or shared between the sources without being separated.

    Args:
        separator: separator with its own sample rate.
        high_band: treatment of the band that the rate of the separator lacks: ``drop``, or ``share``, by the energies
            of the estimates below it, see :func:`torchsep.functional.share_high_band`.
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

    def __init__(self, separator: Separator, high_band: str = "drop", *, sample_rate: int) -> None:
        super().__init__(sample_rate=sample_rate)
        if not isinstance(separator, Separator):
            raise ValueError(f"separator must be a separator, got {separator!r}")
        check_choice(high_band, HIGH_BANDS, "high_band")
        self.separator = separator
        self.high_band = high_band
        self.conservative = separator.conservative and high_band == "share"
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
        if self.high_band == "share":
            return share_high_band(estimates, mixture, inner_rate, self.sample_rate)
        return resample(estimates, inner_rate, self.sample_rate)[..., : mixture.shape[-1]]
