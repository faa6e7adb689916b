"""Separation of the predominant melody and what accompanies it."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_integer, check_mixture, check_number
from torchsep.functional.filtering import box_filter
from torchsep.functional.masks import with_complement
from torchsep.functional.melody import predominant_melody
from torchsep.functional.operators import operator
from torchsep.functional.parts import in_parts
from torchsep.separators.separator import MaskSeparator
from torchsep.transforms import STFT
from torchsep.transforms.stft import window_values
from torchsep.typing import Masks, Spectrogram, Waveform

__all__ = ["Melodia", "harmonic_lobes", "vowel_envelope"]

_TOLERANCE = 50.0  # cents: what is heard as one note, and how far a pitch that is found may be off
_HOP_SECONDS = 0.0058
_DOUBT = 0.1  # the least share of either source: a melody may be wrong, and a voice has breath and consonants
_LOBE_END = 0.01  # of a window's spectrum that has no zero
_LOBE_DETAIL = 16


def harmonic_lobes(
    melody: Float[Tensor, "B 1 1 N"], frequencies: Float[Tensor, "F 1"], half_width: float, num_overtones: int
) -> Float[Tensor, "B 1 F N"]:
    r"""The share of each bin that belongs to the harmonics of a melody, by its distance from the nearest.

    It is one within 50 cents of a harmonic and falls to nothing within half a main lobe more:

    .. math::
        M = \max_h \cos^2\left(\frac{\pi}{2} \min\left(1,
            \frac{\max(0, |f - h f_0| - 0.029 h f_0)}{w}\right)\right)

    So the lobes of high harmonics are wider, as a change of pitch and an error in it grow with the harmonic.

    Args:
        melody: :math:`f_0` in Hz, zero where there is none.
        frequencies: :math:`f` of bins in Hz.
        half_width: :math:`w`, of a main lobe, in Hz.
        num_overtones: harmonics, the fundamental among them.

    Example:
        >>> frequencies = torch.tensor([90.0, 100.0, 150.0, 190.0, 200.0])[:, None]
        >>> melody = torch.tensor([100.0, 0.0]).view(1, 1, 1, 2)
        >>> harmonic_lobes(melody, frequencies, half_width=10.0, num_overtones=2)[0, 0].round(decimals=2).mT
        tensor([[0.2000, 1.0000, 0.0000, 0.6300, 1.0000],
                [0.0000, 0.0000, 0.0000, 0.0000, 0.0000]])
    """
    voiced = melody > 0
    melody = melody.where(voiced, 1.0)
    below = (frequencies / melody).floor().clamp_(1, num_overtones)
    # The harmonic above has the wider lobe: it may be nearer though its centre is not.
    excess = torch.minimum(
        _excess(frequencies, below * melody), _excess(frequencies, (below + 1).clamp_(max=num_overtones) * melody)
    )
    lobe = torch.cos((0.5 * math.pi / half_width) * excess.clamp(0.0, half_width)).square()
    return lobe * voiced


def _excess(frequencies: Tensor, harmonic: Tensor) -> Tensor:
    """How far bins are from what counts as a harmonic, in Hz."""
    return (frequencies - harmonic).abs_() - (2 ** (_TOLERANCE / 1200) - 1) * harmonic


def vowel_envelope(frequencies: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    r"""The formants of a neutral vowel, one at its resonances.

    A vocal tract as wide at the lips as at the glottis, closed there and 17.5 cm long, resonates at 500 Hz and its odd
    multiples. With losses :math:`d = 1/2`:

    .. math::
        E(f) = \frac{d}{\sqrt{d^2 + \cos^2(\pi f / 1000)}}

    Args:
        frequencies: in Hz.

    Example:
        >>> vowel_envelope(torch.tensor([0.0, 250.0, 500.0, 1500.0])).round(decimals=2)
        tensor([0.4500, 0.5800, 1.0000, 1.0000])

    References:
        G. Fant, "Acoustic Theory of Speech Production", Mouton, 1960.
    """
    return 0.5 * (0.25 + torch.cos(math.pi / 1000 * frequencies).square()).rsqrt()


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
        sample_rate: of the mixtures, in Hz.
        minimum_frequency: lowest pitch of the melody, in Hz.
        maximum_frequency: highest pitch of the melody, in Hz.
        voicing_tolerance: standard deviations by which a contour of the melody may be less salient than the mean of
            all; the larger, the more is melody.
        minimum_peak_salience: in percent of the most salient pitch of the mixture, from 0 to 100; what is less is no
            pitch. Useful for a voice alone, whose silence is not empty.
        num_overtones: harmonics in the mask, the fundamental among them.
        smooth_length: frames over which the mask is averaged.
        add_lower_octave: whether the harmonics of the octave below are added to the mask, as a remedy for a melody that
            is found an octave too high.
        apply_vowel_filter: whether the mask is weighed by the formants of a vowel, :func:`vowel_envelope`.
        mask_type: ``soft`` or ``binary``.
        mask_threshold: of a binary foreground mask, from 0 to 1.
        stft: front end; that of :meth:`STFT.from_sample_rate` if None. The melody is found by one of its own.

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
    last_is_rest = True

    def __init__(  # noqa: PLR0917 - the parameters, and their order, are those that users know
        self,
        minimum_frequency: float = 55.0,
        maximum_frequency: float = 1760.0,
        voicing_tolerance: float = 0.2,
        minimum_peak_salience: float = 0.0,
        num_overtones: int = 40,
        smooth_length: int = 5,
        add_lower_octave: bool = False,  # noqa: FBT001
        apply_vowel_filter: bool = False,  # noqa: FBT001
        *,
        sample_rate: int,
        mask_type: str = "soft",
        mask_threshold: float = 0.5,
        stft: STFT | None = None,
    ) -> None:
        super().__init__(sample_rate=sample_rate, mask_type=mask_type, mask_threshold=mask_threshold, stft=stft)
        check_number(minimum_frequency, "minimum_frequency", above=0.0)
        check_number(maximum_frequency, "maximum_frequency", above=minimum_frequency)
        check_number(voicing_tolerance, "voicing_tolerance")
        check_number(minimum_peak_salience, "minimum_peak_salience", at_least=0.0, at_most=100.0)
        check_integer(num_overtones, "num_overtones", at_least=1)
        check_integer(smooth_length, "smooth_length", at_least=1)
        self.minimum_frequency = minimum_frequency
        self.maximum_frequency = maximum_frequency
        self.voicing_tolerance = voicing_tolerance
        self.minimum_peak_salience = minimum_peak_salience
        self.num_overtones = num_overtones
        self.smooth_length = smooth_length
        for name, value in (("add_lower_octave", add_lower_octave), ("apply_vowel_filter", apply_vowel_filter)):
            if not isinstance(value, bool):
                raise ValueError(f"{name} must be True or False, got {value!r}")
        self.add_lower_octave = add_lower_octave
        self.apply_vowel_filter = apply_vowel_filter
        self._half_width = _main_lobe(self.stft) * sample_rate

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
            mask = harmonic_lobes(pitch, frequencies, self._half_width, self.num_overtones)
            if self.add_lower_octave:
                lower = harmonic_lobes(0.5 * pitch, frequencies, self._half_width, self.num_overtones)
                mask = torch.maximum(mask, lower)
            return mask * vowel_envelope(frequencies) if self.apply_vowel_filter else mask

        def background(mask: Tensor, heard: Tensor) -> Tensor:
            silent = (torch.view_as_real(heard) == 0).all(-1).all(1, keepdim=True)
            share = _DOUBT + (1 - 2 * _DOUBT) * mask.clamp(0.0, 1.0)
            return (1 - share).masked_fill(silent | ~has_melody, 1.0)

        # The spectrogram tells into how many parts to go, and how to lay them out.
        mask = in_parts(foreground, heard[:, :1].real, pitch[:, None, None])
        mask = box_filter(mask, self.smooth_length, dim=-1)
        has_melody = (melody > 0).any(-1)[:, None, None, None]
        return with_complement(in_parts(background, mask, heard))

    def _melody(self, mixture: Waveform) -> Float[Tensor, "B N"]:
        pitch: Tensor = _held_melody(
            mixture.detach(),
            self.sample_rate,
            self.melody_hop_length,
            self.minimum_frequency,
            self.maximum_frequency,
            self.voicing_tolerance,
            self.minimum_peak_salience / 100,
        )
        return pitch


def _main_lobe(stft: STFT) -> float:
    """From the centre of the window's spectrum to its first minimum, in cycles a sample."""
    length = _LOBE_DETAIL * stft.win_length
    spectrum = torch.fft.rfft(window_values(stft.window, stft.win_length), n=length).abs()
    ends = (spectrum[1:] > spectrum[:-1]) | (spectrum[:-1] < _LOBE_END * spectrum[0])
    return max(1, int(ends.byte().argmax())) / length


@operator(
    lambda waveform, sample_rate, hop_length, *settings: waveform.new_empty(  # noqa: ARG005
        len(waveform), 1 + -(-waveform.shape[-1] // hop_length)
    )
)
def _held_melody(
    waveform: Tensor,
    sample_rate: int,
    hop_length: int,
    lowest: float,
    highest: float,
    voicing_tolerance: float,
    least_salience: float,
) -> Tensor:
    return predominant_melody(waveform, sample_rate, hop_length, lowest, highest, voicing_tolerance, least_salience)
