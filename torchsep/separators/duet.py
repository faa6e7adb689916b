"""Separation by the attenuation and the delay between two channels."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_integer, check_mixture, check_number
from torchsep.functional.delays import histogram_peaks, phase_histogram, smooth_heights
from torchsep.functional.figures import image_figure
from torchsep.functional.parts import magnitude
from torchsep.functional.spatial import symmetric_attenuation
from torchsep.separators.names import numbered_names
from torchsep.separators.separator import MaskSeparator
from torchsep.transforms import STFT
from torchsep.typing import Masks, Spectrogram, Waveform

__all__ = ["DUET", "likelihood_masks"]


def likelihood_masks(spectrogram: Spectrogram, attenuation: Float[Tensor, "B S"], delay: Float[Tensor, "B S"]) -> Masks:
    r"""The probabilities that each bin belongs to each of several sources, by how the two channels differ.

    .. math::
        M_s \propto e^{-\rho_s / 2 \sigma^2}, \qquad
        \rho_s = \frac{|a_s e^{-i \omega \delta_s} X_1 - X_2|^2}{(1 + a_s^2) (|X_1|^2 + |X_2|^2)}

    What a bin holds beside its source is taken to be in proportion to the bin's level, :math:`\sigma^2` of its power:
    its likeliest value for each item.

    Args:
        spectrogram: of two channels.
        attenuation: :math:`a_s`, how many times louder the second channel is.
        delay: :math:`\delta_s` of the second channel, in samples.

    Gradient:
        Exact.

    Example:
        >>> spectrogram = torch.tensor([[[[1.0 + 0j]], [[0.6 + 0j]]]])
        >>> masks = likelihood_masks(spectrogram, torch.tensor([[0.5, 2.0]]), torch.zeros(1, 2))
        >>> masks[0, :, 0, 0, 0].round(decimals=3)
        tensor([1., 0.])
    """
    peak = magnitude(spectrogram.detach()).amax((1, 2, 3), keepdim=True)
    first, second = (spectrogram / peak.masked_fill(peak == 0, 1.0)).unbind(1)
    power = first.real.square() + first.imag.square() + second.real.square() + second.imag.square()
    silent = power == 0
    turns = torch.arange(first.shape[-2], dtype=power.dtype, device=power.device) * (
        math.pi / max(1, first.shape[-2] - 1)
    )
    errors = []
    for factor, late in zip(attenuation.unbind(1), delay.unbind(1), strict=True):
        angle = turns[:, None] * late[:, None, None].to(turns)
        mixing = torch.polar(factor[:, None, None].to(angle).expand_as(angle), -angle).to(first.dtype)
        difference = mixing * first - second
        errors.append((difference.real.square() + difference.imag.square()) / (1 + factor.square())[:, None, None])
    error = torch.stack(errors, 1)
    total = power.sum((-2, -1), keepdim=True)
    least = error.amin(1).sum((-2, -1), keepdim=True) / total.masked_fill(total == 0, 1.0)
    variance = least.clamp(min=torch.finfo(power.dtype).eps)
    share = (error / power.masked_fill(silent, 1.0)[:, None]).masked_fill(silent[:, None], 0.0)
    return (-share / (2 * variance[:, None])).softmax(1)[:, :, None]


class DUET(MaskSeparator):
    r"""Split a stereo mixture into more sources than channels, by the attenuation and the delay of each.

    Where sources do not overlap, the channels of a bin tell how much louder (:math:`a`) and how much later
    (:math:`\delta`) its source is in the second channel. All bins are counted in a histogram over the symmetric
    attenuation :math:`a - 1 / a` and :math:`\delta`; its peaks are the sources, and each bin goes to the likeliest.
    It suits sources that are panned or delayed without much reverberation, speech above all.

    The histogram is smooth: a bin counts for all delays that its phase agrees with, so that delays beyond the spatial
    aliasing bound are found too. Peaks are taken from the highest down, each time without the bins that those already
    taken explain, whose flanks else hide weaker sources. Bins outside the range of attenuations count at its ends.

    Args:
        num_sources: number of sources, at least two.
        attenuation_min: least symmetric attenuation.
        attenuation_max: largest symmetric attenuation.
        num_attenuation_bins: of the histogram.
        delay_min: least delay of the second channel, in samples.
        delay_max: largest delay of the second channel, in samples.
        num_delay_bins: of the histogram. An odd number between bounds of opposite signs has a bin without delay.
        attenuation_min_distance: two peaks are further apart than this many bins in attenuation, or...
        delay_min_distance: ...than this many bins in delay.
        peak_threshold: height of the least peak as a share of the highest's, from 0 to 1.
        p: exponent of the power of a bin in its weight.
        q: exponent of the frequency of a bin in its weight.
        sample_rate: of the mixtures, in Hz.
        mask_type: ``soft``, the probabilities of the sources, or ``binary``, the likeliest source.
        mask_threshold: of a binary second mask of two.
        stft: front end; that of :meth:`STFT.from_sample_rate` if None.

    Shape:
        ``(B, 2, T) -> (B, num_sources, 2, T)``, from the highest peak to the lowest.

    Raises:
        ValueError: if a mixture has fewer peaks than sources, other than one that has a silent channel.

    Gradient:
        Exact for the peaks found, which are held.

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
        num_sources: int,
        *,
        attenuation_min: float = -3.0,
        attenuation_max: float = 3.0,
        num_attenuation_bins: int = 50,
        delay_min: float = -20.0,
        delay_max: float = 20.0,
        num_delay_bins: int = 333,
        attenuation_min_distance: int = 5,
        delay_min_distance: int = 5,
        peak_threshold: float = 0.001,
        p: float = 1.0,
        q: float = 0.0,
        sample_rate: int,
        mask_type: str = "binary",
        mask_threshold: float = 0.5,
        stft: STFT | None = None,
    ) -> None:
        super().__init__(sample_rate=sample_rate, mask_type=mask_type, mask_threshold=mask_threshold, stft=stft)
        check_integer(num_sources, "num_sources", at_least=2)
        check_number(attenuation_min, "attenuation_min")
        check_number(attenuation_max, "attenuation_max", above=attenuation_min)
        check_integer(num_attenuation_bins, "num_attenuation_bins", at_least=1)
        check_number(delay_min, "delay_min")
        check_number(delay_max, "delay_max", above=delay_min)
        check_integer(num_delay_bins, "num_delay_bins", at_least=1)
        check_integer(attenuation_min_distance, "attenuation_min_distance", at_least=0)
        check_integer(delay_min_distance, "delay_min_distance", at_least=0)
        check_number(peak_threshold, "peak_threshold", at_least=0.0, at_most=1.0)
        check_number(p, "p", at_least=0.0)
        check_number(q, "q", at_least=0.0)
        self.num_sources = num_sources
        self.attenuation_min = attenuation_min
        self.attenuation_max = attenuation_max
        self.num_attenuation_bins = num_attenuation_bins
        self.delay_min = delay_min
        self.delay_max = delay_max
        self.num_delay_bins = num_delay_bins
        self.attenuation_min_distance = attenuation_min_distance
        self.delay_min_distance = delay_min_distance
        self.peak_threshold = peak_threshold
        self.p = p
        self.q = q
        self.names = numbered_names(num_sources)

    def histogram(self, mixture: Waveform) -> Float[Tensor, "B A D"]:
        """How much of the mixture has which symmetric attenuation and which delay, relative to the highest value."""
        check_mixture(mixture, self.channels)
        counted = self._counted(self.stft(mixture if mixture.dim() == 3 else mixture[None]))
        heights = smooth_heights(counted, self._delays(counted), self.stft.n_fft)
        highest = heights.amax((1, 2), keepdim=True)
        relative = (heights / highest.masked_fill(highest == 0, 1.0)).to(mixture.dtype)
        return relative if mixture.dim() == 3 else relative[0]

    def peaks(self, mixture: Waveform) -> Float[Tensor, "B S 2"]:
        """Attenuation (how many times louder the second channel is) and delay in samples of each source."""
        check_mixture(mixture, self.channels)
        attenuation, delay = self._peaks(self.stft(mixture if mixture.dim() == 3 else mixture[None]))
        both = torch.stack((attenuation, delay), -1)
        return both if mixture.dim() == 3 else both[0]

    def plot_histogram(self, mixture: Waveform) -> Any:
        """A matplotlib figure of the histogram of one mixture ``(2, T)``."""
        axes = {
            "delay of the second channel (samples)": (self.delay_min, self.delay_max),
            "symmetric attenuation": (self.attenuation_min, self.attenuation_max),
        }
        return image_figure(self.histogram(mixture), axes)

    def masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """The probabilities of the sources at the peaks of the histogram."""
        attenuation, delay = self._peaks(spectrogram)
        dtype = spectrogram.real.dtype
        return likelihood_masks(spectrogram, attenuation.to(dtype), delay.to(dtype))

    def _delays(self, spectrogram: Tensor) -> Float[Tensor, " D"]:
        return _centres(self.delay_min, self.delay_max, self.num_delay_bins, spectrogram.device)

    @torch.no_grad()
    def _counted(self, spectrogram: Spectrogram) -> Float[Tensor, "B A F P"]:
        """How much of each frequency has which attenuation and phase."""
        level = magnitude(spectrogram)
        peak = level.amax((1, 2, 3), keepdim=True)
        first, second = (level / peak.masked_fill(peak == 0, 1.0)).unbind(1)
        scale = self.num_attenuation_bins / (self.attenuation_max - self.attenuation_min)
        place = (symmetric_attenuation(first, second) - self.attenuation_min) * scale - 0.5
        turns = torch.arange(first.shape[-2], device=first.device)[:, None] * (2 * math.pi / self.stft.n_fft)
        # Neither the first bin, whose phase tells nothing, nor a silent channel counts.
        weights = (first * second).double()
        weights = torch.where((weights > 0) & (turns > 0), weights**self.p, 0.0) * turns**self.q
        cross = spectrogram[:, 1] / peak[:, 0] * (spectrogram[:, 0] / peak[:, 0]).conj()
        return phase_histogram(cross, weights, place, self.num_attenuation_bins)

    @torch.no_grad()
    def _peaks(self, spectrogram: Spectrogram) -> tuple[Float[Tensor, "B S"], Float[Tensor, "B S"]]:
        """Attenuations and delays of the highest peaks."""
        delays = self._delays(spectrogram)
        distances = (self.attenuation_min_distance, self.delay_min_distance)
        counted = self._counted(spectrogram)
        row, column, height = histogram_peaks(counted, delays, self.stft.n_fft, self.num_sources, distances)
        self._check_peaks(height)
        count = self.num_attenuation_bins
        symmetric = _centres(self.attenuation_min, self.attenuation_max, count, delays.device)[row]
        return (symmetric + (symmetric.square() + 4).sqrt()) / 2, delays[column]

    def _check_peaks(self, heights: Float[Tensor, "B S"]) -> None:
        """Raise if an item that is heard in both channels has fewer peaks than sources."""
        if torch.compiler.is_compiling():
            return
        count = (heights > self.peak_threshold * heights[:, :1]).sum(1)
        few = (heights[:, 0] > 0) & (count < self.num_sources)
        if few.any():
            item = int(few.byte().argmax())
            raise ValueError(
                f"num_sources must be at most the number of peaks in the histogram, which is {int(count[item])} "
                f"for mixture {item} of the batch, got {self.num_sources}"
            )


def _centres(low: float, high: float, count: int, device: torch.device) -> Float[Tensor, " n"]:
    """The centres of bins between two bounds."""
    return low + (torch.arange(count, dtype=torch.float64, device=device) + 0.5) * ((high - low) / count)
