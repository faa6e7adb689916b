"""Melodia: separation of the predominant melody from its accompaniment."""

import math
from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor
from torch._subclasses.fake_tensor import unset_fake_temporarily

from torchsep.checks import check_boolean, check_integer, check_mixture, check_number
from torchsep.functional._chunks import map_frames
from torchsep.functional.filters.box_filter import box_filter
from torchsep.functional.pitch.harmonic_masks import harmonic_mask, vowel_envelope
from torchsep.functional.pitch.melody import predominant_melody
from torchsep.separators.bases.background_separator import BackgroundSeparator
from torchsep.separators.bases.mask_separator import MaskOptions
from torchsep.transforms import STFT
from torchsep.transforms.stft import window_values
from torchsep.typing import Spectrogram, Waveform

__all__ = ["Melodia"]

_HOP_SECONDS = 0.0058
_LEAST_MASK = 0.1  # minimum of both masks: a melody may be wrong, and a voice has breath and consonants
_LOBE_END = 0.01  # relative height at the end of a main lobe without a zero
_LOBE_DETAIL = 16


class Melodia(BackgroundSeparator):
    """Melodia: separate the predominant melody, voice or instrument, by its pitch contours and a harmonic mask.

    The foreground mask follows the harmonics of the melody. The salience of a pitch is the weighted sum of the spectral
    peaks at its harmonics. Salient pitches of successive frames form contours. The melody consists of the contours
    that are salient, or have the vibrato or range of a voice, and that lie near the mean pitch. It suits one singer
    or one melodic instrument over a less prominent accompaniment. Unvoiced sounds such as consonants stay mostly in
    the background: since melodies may be wrong, masks lie between 0.1 and 0.9. Where the mixture is silent, or if no
    melody is found, everything is background. The melody is estimated from all channels jointly and the mask is shared.

    Peaks are A-weighted, and the weight of harmonic h is :math:`0.85^{h - 1}`; the authors use 0.8 after a weaker
    equal-loudness filter.

    Args:
        min_frequency_hz: lowest pitch of the melody, in Hz.
        max_frequency_hz: highest pitch of the melody, in Hz.
        voicing_tolerance: number of standard deviations by which the salience of a contour may be below the mean;
            larger values assign more contours to the melody.
        min_peak_salience: minimum salience of a pitch, in percent of the maximum in the mixture, from 0 to 100. Useful
            for a solo voice with background noise in its pauses.
        num_overtones: number of harmonics in the mask, including the fundamental.
        smooth_length: number of frames over which the mask is averaged.
        add_lower_octave: whether the harmonics of the octave below are added to the mask, which compensates for
            melodies estimated an octave too high.
        apply_vowel_filter: whether the mask is weighted by the formants of a vowel, :func:`vowel_envelope`.
        compression: exponent of the mask of harmonics; below one it widens lobes and raises what the vowel lowers.
        high_pass_cutoff_hz: cutoff of the foreground; bins below the one nearest to it are background.
        options: arguments of :class:`MaskSeparator`.

    Shape:
        ``(B, C, T) -> (B, 2, C, T)``, background and foreground.

    Gradient:
        Exact, with the melody and thus the soft mask held fixed.

    Example:
        >>> separator = Melodia(sample_rate=8000)
        >>> time = torch.arange(8000) / 8000
        >>> tone = sum(torch.sin(2 * torch.pi * 330 * h * time) / h for h in (1, 2, 3, 4))
        >>> separator.melody(tone[None])[80:84].round()
        tensor([330., 330., 330., 330.])

    References:
        J. Salamon and E. Gomez, "Melody extraction from polyphonic music signals using pitch contour characteristics",
        IEEE TASLP, 2012.
    """

    def __init__(  # noqa: PLR0917 - names and order of the parameters are established
        self,
        min_frequency_hz: float = 55.0,
        max_frequency_hz: float = 1760.0,
        voicing_tolerance: float = 0.2,
        min_peak_salience: float = 0.0,
        num_overtones: int = 40,
        smooth_length: int = 5,
        add_lower_octave: bool = False,  # noqa: FBT001
        apply_vowel_filter: bool = False,  # noqa: FBT001
        *,
        compression: float = 1.0,
        high_pass_cutoff_hz: float = 0.0,
        **options: Unpack[MaskOptions],
    ) -> None:
        super().__init__(high_pass_cutoff_hz=high_pass_cutoff_hz, **options)
        check_number(min_frequency_hz, "min_frequency_hz", above=0.0)
        check_number(max_frequency_hz, "max_frequency_hz", above=min_frequency_hz)
        check_number(voicing_tolerance, "voicing_tolerance")
        check_number(min_peak_salience, "min_peak_salience", at_least=0.0, at_most=100.0)
        check_integer(num_overtones, "num_overtones", at_least=1)
        check_integer(smooth_length, "smooth_length", at_least=1)
        check_number(compression, "compression", above=0.0)
        self.min_frequency_hz = min_frequency_hz
        self.max_frequency_hz = max_frequency_hz
        self.voicing_tolerance = voicing_tolerance
        self.min_peak_salience = min_peak_salience
        self.num_overtones = num_overtones
        self.smooth_length = smooth_length
        for name, value in (("add_lower_octave", add_lower_octave), ("apply_vowel_filter", apply_vowel_filter)):
            check_boolean(value, name)
        self.add_lower_octave = add_lower_octave
        self.apply_vowel_filter = apply_vowel_filter
        self.compression = compression
        self._half_width = _main_lobe(self.stft) * self.sample_rate

    @property
    def melody_hop_length(self) -> int:
        """Hop between the pitches of :meth:`melody`, in samples, about 6 ms; the first is centred on sample zero."""
        wanted = _HOP_SECONDS * self.sample_rate
        # Windows of eight hops with a fast Fourier transform.
        lengths = (factor * 2 ** max(0, math.ceil(math.log2(wanted / factor))) for factor in (1, 3, 5, 9, 15))
        return min(lengths)

    def melody(self, mixture: Waveform) -> Float[Tensor, "B N"]:
        """The pitch of each mixture's melody in Hz every ``melody_hop_length`` samples, zero where unvoiced."""
        check_mixture(mixture)
        pitch = self._melody(mixture if mixture.dim() == 3 else mixture[None])
        return pitch if mixture.dim() == 3 else pitch[0]

    def background_mask(self, spectrogram: Spectrogram) -> Float[Tensor, "B 1 F N"]:
        """The complement of the harmonic mask of the melody of the mixture, shared by all channels."""
        mixture = spectrogram.detach()
        frames = mixture.shape[-1]
        melody = self._melody(self.stft.inverse(mixture, (frames - 1) * self.stft.hop_length))
        # The nearest frame of the melody; of two equally near ones, the later.
        hop = self.melody_hop_length
        time = torch.arange(frames, device=mixture.device) * (2 * self.stft.hop_length)
        pitch = melody[:, ((time + hop) // (2 * hop)).clamp(max=melody.shape[-1] - 1)]
        frequencies = self.stft.frequencies(self.sample_rate)[:, None].to(pitch)

        def foreground(_: Tensor, pitch: Tensor) -> Tensor:
            mask = harmonic_mask(pitch, frequencies, self._half_width, self.num_overtones)
            if self.add_lower_octave:
                lower = harmonic_mask(0.5 * pitch, frequencies, self._half_width, self.num_overtones)
                mask = torch.maximum(mask, lower)
            mask = mask * vowel_envelope(frequencies) if self.apply_vowel_filter else mask
            return mask if self.compression == 1 else mask**self.compression

        def background(mask: Tensor, mixture: Tensor) -> Tensor:
            silent = (torch.view_as_real(mixture) == 0).all(-1).all(1, keepdim=True)
            melodic = _LEAST_MASK + (1 - 2 * _LEAST_MASK) * mask.clamp(0.0, 1.0)
            return (1 - melodic).masked_fill(silent | ~has_melody, 1.0)

        # The spectrogram determines the block size and the memory layout of the mask.
        mask = map_frames(foreground, mixture[:, :1].real, pitch[:, None, None])
        mask = box_filter(mask, self.smooth_length, dim=-1)
        has_melody = (melody > 0).any(-1)[:, None, None, None]
        return map_frames(background, mask, mixture)

    def _melody(self, mixture: Waveform) -> Float[Tensor, "B N"]:
        return predominant_melody(
            mixture,
            self.sample_rate,
            self.melody_hop_length,
            self.min_frequency_hz,
            self.max_frequency_hz,
            self.voicing_tolerance,
            self.min_peak_salience / 100,
        )


@unset_fake_temporarily()  # values are read
def _main_lobe(stft: STFT) -> float:
    """Half the width of the main lobe of the window's spectrum, to its first minimum, in cycles per sample."""
    length = _LOBE_DETAIL * stft.win_length
    spectrum = torch.fft.rfft(window_values(stft.window, stft.win_length), n=length).abs()
    ends = (spectrum[1:] > spectrum[:-1]) | (spectrum[:-1] < _LOBE_END * spectrum[0])
    return max(1, int(ends.byte().argmax())) / length
