"""Separation of the predominant melody and what accompanies it."""

import math
from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_integer, check_mixture, check_number
from torchsep.functional._chunks import map_frames
from torchsep.functional.filters.box_filter import box_filter
from torchsep.functional.masks import complementary_masks
from torchsep.functional.pitch.harmonic_masks import harmonic_mask, vowel_envelope
from torchsep.functional.pitch.melody import predominant_melody
from torchsep.separators.bases.mask_separator import MaskOptions, MaskSeparator
from torchsep.transforms import STFT
from torchsep.transforms.stft import window_values
from torchsep.typing import Masks, Spectrogram, Waveform

__all__ = ["Melodia"]

_HOP_SECONDS = 0.0058
_DOUBT = 0.1  # the least share of either source: a melody may be wrong, and a voice has breath and consonants
_LOBE_END = 0.01  # of a window's spectrum that has no zero
_LOBE_DETAIL = 16


class Melodia(MaskSeparator):
    """Split a mixture into the voice or instrument that leads, and its accompaniment.

    The pitch of the melody is followed through the mixture, and its harmonics are the foreground. For each pitch, the
    salience is the sum of the spectral peaks at its harmonics; pitches that continue one another are contours; the
    melody is made of the contours that are salient, or move as a voice does, and lie near the mean pitch of all. It
    suits one singer or one melodic instrument over anything that is less prominent. What has no pitch, as consonants,
    stays with the accompaniment, but for a tenth: masks lie between 0.1 and 0.9, as no melody is certain. Where the
    mixture is silent, or has no melody at all, everything is background. One melody is found for all channels together,
    and masks all alike.

    Peaks count as loud as they are heard, and the harmonic h of a pitch :math:`0.85^{h - 1}`, where the authors have
    0.8 after a weaker filter.

    Args:
        min_frequency_hz: lowest pitch of the melody, in Hz.
        max_frequency_hz: highest pitch of the melody, in Hz.
        voicing_tolerance: standard deviations by which a contour of the melody may be less salient than the mean of
            all; the larger, the more is melody.
        min_peak_salience: in percent of the most salient pitch of the mixture, from 0 to 100; what is less is no
            pitch. Useful for a voice alone, whose silence is not empty.
        num_overtones: harmonics in the mask, the fundamental among them.
        smooth_length: frames over which the mask is averaged.
        add_lower_octave: whether the harmonics of the octave below are added to the mask, as a remedy for a melody that
            is found an octave too high.
        apply_vowel_filter: whether the mask is weighed by the formants of a vowel, :func:`vowel_envelope`.
        options: arguments of :class:`MaskSeparator`.

    Shape:
        ``(B, C, T) -> (B, 2, C, T)``, background and foreground.

    Gradient:
        Exact for the melody found, which is held, and the mask with it.

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

    names = ("background", "foreground")
    last_is_residual = True

    def __init__(  # noqa: PLR0917 - the parameters, and their order, are those that users know
        self,
        min_frequency_hz: float = 55.0,
        max_frequency_hz: float = 1760.0,
        voicing_tolerance: float = 0.2,
        min_peak_salience: float = 0.0,
        num_overtones: int = 40,
        smooth_length: int = 5,
        add_lower_octave: bool = False,  # noqa: FBT001
        apply_vowel_filter: bool = False,  # noqa: FBT001
        **options: Unpack[MaskOptions],
    ) -> None:
        super().__init__(**options)
        check_number(min_frequency_hz, "min_frequency_hz", above=0.0)
        check_number(max_frequency_hz, "max_frequency_hz", above=min_frequency_hz)
        check_number(voicing_tolerance, "voicing_tolerance")
        check_number(min_peak_salience, "min_peak_salience", at_least=0.0, at_most=100.0)
        check_integer(num_overtones, "num_overtones", at_least=1)
        check_integer(smooth_length, "smooth_length", at_least=1)
        self.min_frequency_hz = min_frequency_hz
        self.max_frequency_hz = max_frequency_hz
        self.voicing_tolerance = voicing_tolerance
        self.min_peak_salience = min_peak_salience
        self.num_overtones = num_overtones
        self.smooth_length = smooth_length
        for name, value in (("add_lower_octave", add_lower_octave), ("apply_vowel_filter", apply_vowel_filter)):
            if not isinstance(value, bool):
                raise ValueError(f"{name} must be True or False, got {value!r}")
        self.add_lower_octave = add_lower_octave
        self.apply_vowel_filter = apply_vowel_filter
        self._half_width = _main_lobe(self.stft) * self.sample_rate

    @property
    def melody_hop_length(self) -> int:
        """Samples from one pitch of :meth:`melody` to the next, about 6 ms; the first is that of the first sample."""
        wanted = _HOP_SECONDS * self.sample_rate
        # Windows of eight hops whose Fourier transform is quick.
        lengths = (factor * 2 ** max(0, math.ceil(math.log2(wanted / factor))) for factor in (1, 3, 5, 9, 15))
        return min(lengths)

    def melody(self, mixture: Waveform) -> Float[Tensor, "B N"]:
        """The pitch of each mixture's melody in Hz every ``melody_hop_length`` samples, zero where there is none."""
        check_mixture(mixture)
        pitch = self._melody(mixture if mixture.dim() == 3 else mixture[None])
        return pitch if mixture.dim() == 3 else pitch[0]

    def masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """Find the melody in the waveform, and take what is near its harmonics."""
        heard = spectrogram.detach()
        frames = heard.shape[-1]
        melody = self._melody(self.stft.inverse(heard, (frames - 1) * self.stft.hop_length))
        # The nearest of the melody's frames, and of two as near the later.
        hop = self.melody_hop_length
        time = torch.arange(frames, device=heard.device) * (2 * self.stft.hop_length)
        pitch = melody[:, ((time + hop) // (2 * hop)).clamp(max=melody.shape[-1] - 1)]
        frequencies = self.stft.frequencies(self.sample_rate)[:, None].to(pitch)

        def foreground(_: Tensor, pitch: Tensor) -> Tensor:
            mask = harmonic_mask(pitch, frequencies, self._half_width, self.num_overtones)
            if self.add_lower_octave:
                lower = harmonic_mask(0.5 * pitch, frequencies, self._half_width, self.num_overtones)
                mask = torch.maximum(mask, lower)
            return mask * vowel_envelope(frequencies) if self.apply_vowel_filter else mask

        def background(mask: Tensor, heard: Tensor) -> Tensor:
            silent = (torch.view_as_real(heard) == 0).all(-1).all(1, keepdim=True)
            share = _DOUBT + (1 - 2 * _DOUBT) * mask.clamp(0.0, 1.0)
            return (1 - share).masked_fill(silent | ~has_melody, 1.0)

        # The spectrogram tells into how many parts to go, and how to lay them out.
        mask = map_frames(foreground, heard[:, :1].real, pitch[:, None, None])
        mask = box_filter(mask, self.smooth_length, dim=-1)
        has_melody = (melody > 0).any(-1)[:, None, None, None]
        return complementary_masks(map_frames(background, mask, heard))

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


def _main_lobe(stft: STFT) -> float:
    """From the centre of the window's spectrum to its first minimum, in cycles a sample."""
    length = _LOBE_DETAIL * stft.win_length
    spectrum = torch.fft.rfft(window_values(stft.window, stft.win_length), n=length).abs()
    ends = (spectrum[1:] > spectrum[:-1]) | (spectrum[:-1] < _LOBE_END * spectrum[0])
    return max(1, int(ends.byte().argmax())) / length
