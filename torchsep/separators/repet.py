"""Separation of a repeating background from what does not repeat."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.checks import check_mixture, check_number
from torchsep.functional.masks import background_share
from torchsep.functional.parts import magnitude
from torchsep.functional.periodicity import autocorrelation, periodic_median
from torchsep.separators.background_separator import BackgroundSeparator
from torchsep.transforms import STFT
from torchsep.typing import Spectrogram, Waveform

__all__ = ["Repet", "beat_spectrum", "repeating_mask"]


def beat_spectrum(magnitude: Float[Tensor, "B C F N"], max_lag: int | None = None) -> Float[Tensor, "B K"]:
    r"""How much a spectrogram is like itself so many frames later, 1 for no lag.

    The mean over channels and bins of the unbiased autocorrelation of the power spectrogram along time.

    Args:
        magnitude: non-negative spectrogram. Its level plays no part.
        max_lag: the longest lag wanted, in frames; all if None.

    Example:
        >>> magnitude = torch.tensor([1.0, 0.0]).repeat(1, 1, 3, 4)
        >>> beat_spectrum(magnitude)[0, :4].abs().round(decimals=2)
        tensor([1., 0., 1., 0.])
    """
    peak = magnitude.detach().amax((1, 2, 3), keepdim=True)
    power = (magnitude / peak.masked_fill(peak == 0, 1.0)).square()
    similarity = autocorrelation(power, dims=(1, 2), max_lag=max_lag)
    energy = similarity[:, :1]
    return similarity / energy.masked_fill(energy == 0, 1.0)


def repeating_mask(magnitude: Float[Tensor, "B C F N"], period: Int[Tensor, " B"]) -> Float[Tensor, "B C F N"]:
    r"""The share of each bin that the repeating segment accounts for.

    .. math::
        M = \frac{\min(S, V)}{V}, \qquad S_{fn} = \operatorname{median}_k V_{f, n + kp}

    Args:
        magnitude: non-negative spectrogram :math:`V`.
        period: :math:`p` in frames, one for each batch item.

    Example:
        >>> repeating_mask(torch.tensor([[[[1.0, 2.0, 1.0, 8.0, 1.0, 2.0]]]]), torch.tensor([2]))
        tensor([[[[1.0000, 1.0000, 1.0000, 0.2500, 1.0000, 1.0000]]]])
    """
    return background_share(periodic_median(magnitude, period), magnitude)


class Repet(BackgroundSeparator):
    """Split a mixture into the background that repeats and the foreground over it.

    The period is where the spectrogram is most like itself; the background is the median over all repetitions. It
    suits a voice over a loop or a steady accompaniment of one tempo. One period is found for all channels together.

    Args:
        sample_rate: of the mixtures, in Hz.
        min_period: shortest period looked for, in seconds.
        max_period: longest period looked for, in seconds; if None 8 s. Never more than a third of the signal, so that
            there are three repetitions, unless that leaves nothing to look for; then up to half of it.
        period: the period itself, in seconds; looked for if None.
        high_pass_cutoff: in Hz; bins below the one nearest to it belong to the background.
        mask_type: ``soft`` or ``binary``.
        mask_threshold: of a binary foreground mask, from 0 to 1.
        stft: front end; that of :meth:`STFT.from_sample_rate` if None.

    Shape:
        ``(B, C, T) -> (B, 2, C, T)``, background and foreground.

    Raises:
        ValueError: on a call, if the mixture is too short to hold two of the periods looked for.

    Gradient:
        Exact for the period found, which is held.

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
        high_pass_cutoff: float = 100.0,
        *,
        sample_rate: int,
        mask_type: str = "soft",
        mask_threshold: float = 0.5,
        stft: STFT | None = None,
    ) -> None:
        super().__init__(
            sample_rate=sample_rate,
            high_pass_cutoff=high_pass_cutoff,
            mask_type=mask_type,
            mask_threshold=mask_threshold,
            stft=stft,
        )
        check_number(min_period, "min_period", above=0.0)
        if max_period is not None:
            check_number(max_period, "max_period", above=min_period)
        if period is not None:
            check_number(period, "period", above=0.0)
        self.min_period = min_period
        self.max_period = max_period
        self.period = period

    def beat_spectrum(self, mixture: Waveform) -> Float[Tensor, "B N"]:
        """How much each mixture is like itself after each number of frames (of ``stft.hop_length`` samples)."""
        check_mixture(mixture)
        batch = mixture if mixture.dim() == 3 else mixture[None]
        spectrum = beat_spectrum(magnitude(self.stft(batch)))
        return spectrum if mixture.dim() == 3 else spectrum[0]

    def repeating_period(self, mixture: Waveform) -> Float[Tensor, " B"]:
        """The period of each mixture in seconds, on a grid of hops."""
        check_mixture(mixture)
        batch = mixture if mixture.dim() == 3 else mixture[None]
        frames = self._period_in_frames(magnitude(self.stft(batch)))
        seconds = frames.to(batch.dtype) * (self.stft.hop_length / self.sample_rate)
        return seconds if mixture.dim() == 3 else seconds[0]

    def background_mask(self, spectrogram: Spectrogram) -> Float[Tensor, "B C F N"]:
        """Compare the spectrogram with the median over its repetitions."""
        heard = magnitude(spectrogram)
        return repeating_mask(heard, self._period_in_frames(heard))

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
        """The shortest and the longest lag to look at, in frames."""
        low = max(1, math.ceil(self.min_period * frames_per_second))
        longest = math.floor((8.0 if self.max_period is None else self.max_period) * frames_per_second)
        duration = frames - 1  # the last frame is centred on the end of the signal, or less than a hop after it
        high = min(longest, duration // 3)
        if high <= low:  # two repetitions are the least that can be told from one
            high = min(longest, duration // 2)
        if high <= low:
            needed = 2 * (low + 1) / frames_per_second
            raise ValueError(
                f"mixture must last at least {needed:.3g} s to hold two periods of min_period={self.min_period} s, "
                f"got at most {duration / frames_per_second:.3g} s; lower min_period or give the period"
            )
        return low, high
