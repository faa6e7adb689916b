"""REPET: separation of a repeating background by its period."""

import math
from typing import Unpack

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.checks import check_mixture, check_number
from torchsep.functional.magnitude import magnitude
from torchsep.functional.repetition.periodicity import beat_spectrum, repeating_mask
from torchsep.separators.bases.background_separator import BackgroundOptions, BackgroundSeparator
from torchsep.typing import Spectrogram, Waveform

__all__ = ["Repet"]


class Repet(BackgroundSeparator):
    """REPET: separate a repeating background by its period.

    The period is the maximum of the beat spectrum, and the background is the median over all repetitions. It suits a
    voice over a loop or a steady accompaniment of constant tempo. One period is estimated from all channels jointly.

    Args:
        min_period: shortest period of the search, in seconds.
        max_period: longest period of the search, in seconds; 8 s if None. It is limited to a third of the duration, for
            three repetitions, or to half of it if that leaves no period in the range.
        period: known period, in seconds; estimated if None.
        options: arguments of :class:`BackgroundSeparator`.

    Shape:
        ``(B, C, T) -> (B, 2, C, T)``, background and foreground.

    Raises:
        ValueError: on a call, if the mixture is too short for two repetitions of ``min_period``.

    Gradient:
        Exact, with the period held fixed.

    Example:
        >>> separator = Repet(min_period=0.1, sample_rate=8000)
        >>> click = torch.zeros(1, 8000)
        >>> click[:, ::2000] = 1.0
        >>> round(separator.repeating_period(click).item(), 2)
        0.25

    References:
        Z. Rafii and B. Pardo, "REpeating Pattern Extraction Technique (REPET): a simple method for music/voice
        separation", IEEE TASLP, 2013.
    """

    def __init__(
        self,
        min_period: float = 0.8,
        max_period: float | None = None,
        period: float | None = None,
        **options: Unpack[BackgroundOptions],
    ) -> None:
        super().__init__(**options)
        check_number(min_period, "min_period", above=0.0)
        if max_period is not None:
            check_number(max_period, "max_period", above=min_period)
        if period is not None:
            check_number(period, "period", above=0.0)
        self.min_period = min_period
        self.max_period = max_period
        self.period = period

    def beat_spectrum(self, mixture: Waveform) -> Float[Tensor, "B N"]:
        """The beat spectrum of each mixture: the autocorrelation of its power spectrogram at each lag in frames."""
        check_mixture(mixture)
        batch = mixture if mixture.dim() == 3 else mixture[None]
        spectrum = beat_spectrum(magnitude(self.stft(batch)))
        return spectrum if mixture.dim() == 3 else spectrum[0]

    def repeating_period(self, mixture: Waveform) -> Float[Tensor, " B"]:
        """The period of each mixture in seconds, a multiple of the hop."""
        check_mixture(mixture)
        batch = mixture if mixture.dim() == 3 else mixture[None]
        frames = self._period_in_frames(magnitude(self.stft(batch)))
        seconds = frames.to(batch.dtype) * (self.stft.hop_length / self.sample_rate)
        return seconds if mixture.dim() == 3 else seconds[0]

    def background_mask(self, spectrogram: Spectrogram) -> Float[Tensor, "B C F N"]:
        """The ratio of the median over all repetitions to the spectrogram."""
        observed = magnitude(spectrogram)
        return repeating_mask(observed, self._period_in_frames(observed))

    def _period_in_frames(self, magnitude: Float[Tensor, "B C F N"]) -> Int[Tensor, " B"]:
        frames_per_second = self.sample_rate / self.stft.hop_length
        frames = magnitude.shape[-1]
        if self.period is not None:
            lag = max(1, round(self.period * frames_per_second))
            if lag >= frames:
                raise ValueError(
                    f"period must be shorter than the mixture of {frames / frames_per_second:.3g} s, got {self.period}"
                )
            return torch.full(magnitude.shape[:1], lag, device=magnitude.device)
        low, high = self._range_of_lags(frames, frames_per_second)
        with torch.no_grad():
            return low + beat_spectrum(magnitude, max_lag=high)[:, low:].argmax(1)

    def _range_of_lags(self, frames: int, frames_per_second: float) -> tuple[int, int]:
        """The shortest and the longest lag of the search, in frames."""
        low = max(1, math.ceil(self.min_period * frames_per_second))
        longest = math.floor((8.0 if self.max_period is None else self.max_period) * frames_per_second)
        duration = frames - 1  # the last frame is centred on the end of the signal, or less than a hop after it
        high = min(longest, duration // 3)
        if high <= low:  # two repetitions are the minimum
            high = min(longest, duration // 2)
        if high <= low:
            needed = 2 * (low + 1) / frames_per_second
            raise ValueError(
                f"mixture must last at least {needed:.3g} s for two periods of min_period={self.min_period} s, "
                f"got at most {duration / frames_per_second:.3g} s; reduce min_period or set period"
            )
        return low, high
