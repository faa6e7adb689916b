"""DUET: separation by the attenuation and the delay between two channels."""

import math
from collections.abc import Sequence
from typing import Any, Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_integer, check_mixture, check_number, check_pair
from torchsep.functional.magnitude import magnitude
from torchsep.functional.spatial._floor import above_noise_floor
from torchsep.functional.spatial.delay_histogram import histogram_peaks, phase_histogram, smoothed_histogram
from torchsep.functional.spatial.features import symmetric_attenuation
from torchsep.functional.spatial.likelihood_masks import likelihood_masks
from torchsep.functional.spatial.locations import refine_locations
from torchsep.separators.bases.figure import image_figure
from torchsep.separators.bases.mask_separator import FrontEndOptions, MaskSeparator
from torchsep.separators.bases.source_names import numbered_names
from torchsep.typing import Masks, Spectrogram, Waveform

__all__ = ["DUET"]

_LEAST_RATIO = 0.05  # amplitude of the quieter channel relative to the louder one (26 dB) that gives a bin its weight


class DUET(MaskSeparator):
    r"""DUET: separate a stereo mixture by attenuation and delay, including more sources than channels.

    Where sources do not overlap, the two channels of a bin determine the attenuation :math:`a` and the delay
    :math:`\delta` of its source in the second channel. A histogram over the symmetric attenuation :math:`a - 1 / a` and
    :math:`\delta` is formed from all bins. Its peaks are the sources, and each bin is assigned to the most likely one.
    It suits sources that are panned or delayed with little reverberation, especially speech.

    The histogram is smoothed over all delays consistent with the phase of a bin, so delays beyond the spatial aliasing
    limit are found as well. Peaks are picked in decreasing order; the bins explained by one peak are removed before
    the next, since its flanks would mask weaker sources. Peaks of opposite polarity, of sources that are inverted in
    one channel, are found as well. Attenuations beyond their range count at its ends, so that sources panned hard to
    either side are found there. A source for which there is no peak is empty. The attenuations and delays of the peaks
    are refined by the bins that are assigned to them.

    Args:
        num_sources: number of sources, at least two.
        attenuation_range: minimum and maximum symmetric attenuation of the histogram.
        delay_range_samples: minimum and maximum delay of the second channel, in samples.
        num_bins: number of histogram bins in attenuation and in delay. With an odd number of delay bins over a
            symmetric range, one bin is centred at zero.
        min_peak_distance: number of bins in attenuation and in delay; two peaks are further apart in at least one.
        peak_threshold: height relative to the highest peak above which there is a peak, from 0 to less than 1.
        p: exponent of the power in the weight of a bin.
        q: exponent of the frequency in the weight of a bin.
        num_refinements: maximum number of rounds in which attenuations and delays move from the peaks to the most
            likely values of the nearest bins, see :func:`torchsep.functional.refine_locations`; 0 for none.
        mask_type: ``soft``, the posterior probabilities of the sources, or ``binary``, the most likely source.
        options: arguments of :class:`MaskSeparator`.

    Shape:
        ``(B, 2, T) -> (B, num_sources, 2, T)``, from the highest peak to the lowest.

    Gradient:
        Exact, with the attenuations and delays held fixed.

    Example:
        >>> separator = DUET(num_sources=2, sample_rate=8000)
        >>> time = torch.arange(4000) / 8000
        >>> low, high = torch.sin(2000 * time), torch.sin(9000 * time)
        >>> separator.peaks(torch.stack((low + high, 0.5 * low + 2 * high))).round(decimals=1)[:, 0].sort().values
        tensor([0.5000, 2.0000], dtype=torch.float64)

    References:
        Özgür Yilmaz and Scott Rickard: "Blind separation of speech mixtures via time-frequency masking", IEEE
        Transactions on Signal Processing, 2004.
    """

    channels = 2

    def __init__(
        self,
        num_sources: int = 2,
        *,
        attenuation_range: Sequence[float] = (-3.0, 3.0),
        delay_range_samples: Sequence[float] = (-20.0, 20.0),
        num_bins: Sequence[int] = (50, 333),
        min_peak_distance: Sequence[int] = (5, 5),
        peak_threshold: float = 0.001,
        p: float = 1.0,
        q: float = 0.0,
        num_refinements: int = 10,
        mask_type: str = "binary",
        **options: Unpack[FrontEndOptions],
    ) -> None:
        super().__init__(mask_type=mask_type, **options)
        check_integer(num_sources, "num_sources", at_least=2)
        for name, (low, high) in (
            ("attenuation_range", check_pair(attenuation_range, "attenuation_range")),
            ("delay_range_samples", check_pair(delay_range_samples, "delay_range_samples")),
        ):
            check_number(low, name)
            check_number(high, name, above=low)
        for name, pair, least in (("num_bins", num_bins, 1), ("min_peak_distance", min_peak_distance, 0)):
            for value in check_pair(pair, name):
                check_integer(value, name, at_least=least)
        check_number(peak_threshold, "peak_threshold", at_least=0.0, below=1.0)
        check_number(p, "p", at_least=0.0)
        check_number(q, "q", at_least=0.0)
        check_integer(num_refinements, "num_refinements", at_least=0)
        self.num_sources = num_sources
        self.attenuation_range = attenuation_range
        self.delay_range_samples = delay_range_samples
        self.num_bins = num_bins
        self.min_peak_distance = min_peak_distance
        self.peak_threshold = peak_threshold
        self.p = p
        self.q = q
        self.num_refinements = num_refinements
        self.names = numbered_names(num_sources)

    def histogram(self, mixture: Waveform) -> Float[Tensor, "B A D"]:
        """The histogram over symmetric attenuation and delay, relative to its maximum."""
        check_mixture(mixture, self.channels)
        counted = self._counted(above_noise_floor(self.stft(mixture if mixture.dim() == 3 else mixture[None])))
        heights = smoothed_histogram(counted, self._delays(counted), self.stft.n_fft)
        highest = heights.amax((1, 2), keepdim=True)
        relative = (heights / highest.masked_fill(highest == 0, 1.0)).to(mixture.dtype)
        return relative if mixture.dim() == 3 else relative[0]

    def peaks(self, mixture: Waveform) -> Float[Tensor, "B S 2"]:
        """The attenuation and the delay in samples of each source; NaN for a source without a peak.

        The attenuation is the amplitude ratio of the second to the first channel, negative for opposite polarity.
        """
        check_mixture(mixture, self.channels)
        attenuation, delay = self._peaks(above_noise_floor(self.stft(mixture if mixture.dim() == 3 else mixture[None])))
        both = torch.stack((attenuation, delay), -1)
        return both if mixture.dim() == 3 else both[0]

    def plot_histogram(self, mixture: Waveform) -> Any:
        """A matplotlib figure of the histogram of one mixture ``(2, T)``."""
        axes = {
            "delay of the second channel (samples)": (self.delay_range_samples[0], self.delay_range_samples[1]),
            "symmetric attenuation": (self.attenuation_range[0], self.attenuation_range[1]),
        }
        return image_figure(self.histogram(mixture), axes)

    def masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """The posterior probabilities of the sources at the peaks of the histogram."""
        audible = above_noise_floor(spectrogram)
        attenuation, delay = self._peaks(audible)
        dtype = spectrogram.real.dtype
        return likelihood_masks(audible, attenuation.to(dtype), delay.to(dtype))

    def _delays(self, spectrogram: Tensor) -> Float[Tensor, " D"]:
        return _centres(self.delay_range_samples, self.num_bins[1], spectrogram.device)

    @torch.no_grad()
    def _counted(self, spectrogram: Spectrogram) -> Float[Tensor, "B A F P"]:
        """The histogram over attenuation and phase in each frequency bin."""
        level = magnitude(spectrogram)
        peak = level.amax((1, 2, 3), keepdim=True)
        first, second = (level / peak.masked_fill(peak == 0, 1.0)).unbind(1)
        low, high = self.attenuation_range
        position = (symmetric_attenuation(first, second) - low) * (self.num_bins[0] / (high - low)) - 0.5
        omega = torch.arange(first.shape[-2], device=first.device)[:, None] * (2 * math.pi / self.stft.n_fft)
        cross = spectrogram[:, 1] / peak[:, 0] * (spectrogram[:, 0] / peak[:, 0]).conj()
        loudest = torch.maximum(first, second).double().square()
        coherent, least = self._raised((first * second).double()), self._raised(_LEAST_RATIO * loudest)
        # Levels beyond those of a clearly panned source have no less weight, but no phase: their delay is zero.
        cross = cross.masked_fill(coherent < least, 1.0)
        scale = (omega > 0) * omega**self.q  # the first bin has no phase
        return phase_histogram(cross, scale * torch.maximum(coherent, least), position, self.num_bins[0])

    def _raised(self, weights: Tensor) -> Tensor:
        return torch.where(weights > 0, weights**self.p, 0.0)

    @torch.no_grad()
    def _peaks(self, spectrogram: Spectrogram) -> tuple[Float[Tensor, "B S"], Float[Tensor, "B S"]]:
        """The attenuations and delays of the highest peaks, refined."""
        delays = self._delays(spectrogram)
        distances = (self.min_peak_distance[0], self.min_peak_distance[1])
        counted = self._counted(spectrogram)
        row, column, height = histogram_peaks(
            counted, delays, self.stft.n_fft, self.num_sources, distances, inverted=True
        )
        symmetric = _centres(self.attenuation_range, self.num_bins[0], delays.device)[row % self.num_bins[0]]
        polarity = torch.where(row < self.num_bins[0], 1, -1)
        found = height > self.peak_threshold * height[:, :1]
        found[:, 0] = True
        attenuation = polarity * (symmetric + (symmetric.square() + 4).sqrt()) / 2
        peaks = [values.masked_fill(~found, torch.nan) for values in (attenuation, delays[column])]
        low, high = self.delay_range_samples
        return refine_locations(spectrogram, peaks[0], peaks[1], (low, high), self.num_refinements)


def _centres(bounds: Sequence[float], count: int, device: torch.device) -> Float[Tensor, " n"]:
    """The centres of ``count`` bins between two bounds."""
    low, high = bounds
    return low + (torch.arange(count, dtype=torch.float64, device=device) + 0.5) * ((high - low) / count)
