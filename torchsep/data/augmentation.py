"""Sources made into other sources that could have been recorded.

An augmentation is called with a waveform ``(C, T)`` and a generator, and draws from that generator alone. It may be any
function of these two; those that change the duration say in ``stretch`` how many samples they need for each that they
give.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import torch
from torch import Generator, Tensor

from torchsep import audio
from torchsep.checks import check_integer, check_number

__all__ = [
    "Augmentation",
    "Compose",
    "RandomChannelSwap",
    "RandomGain",
    "RandomPitch",
    "RandomPolarity",
    "RandomSpeed",
    "fit_length",
    "stretch_of",
]


class Augmentation(Protocol):
    """What makes one waveform ``(C, T)`` into another."""

    def __call__(self, waveform: Tensor, generator: Generator, /) -> Tensor:
        """The other waveform."""
        ...


def stretch_of(augmentation: Augmentation | None) -> float:
    """How many samples an augmentation may need for each that it gives."""
    return float(getattr(augmentation, "stretch", 1.0))


def fit_length(waveform: Tensor, length: int) -> Tensor:
    """A waveform of so many samples: cut, or followed by silence."""
    missing = length - waveform.shape[-1]
    return waveform[..., :length] if missing <= 0 else torch.nn.functional.pad(waveform, (0, missing))


@dataclass(frozen=True)
class Compose:
    """One augmentation after another.

    Args:
        augmentations: those to apply, the first first.

    Example:
        >>> augment = Compose([RandomGain(-6.0, 6.0), RandomPolarity()])
        >>> augment(torch.ones(1, 4), torch.Generator().manual_seed(0)).shape
        torch.Size([1, 4])
    """

    augmentations: Sequence[Augmentation]

    @property
    def stretch(self) -> float:
        """How many samples all of them together may need for each that they give."""
        return math.prod(stretch_of(augmentation) for augmentation in self.augmentations)

    def __call__(self, waveform: Tensor, generator: Generator) -> Tensor:
        """The waveform after all of them."""
        for augmentation in self.augmentations:
            waveform = augmentation(waveform, generator)
        return waveform


@dataclass(frozen=True)
class RandomGain:
    """The waveform louder or softer, all decibels between two bounds being as likely.

    Args:
        low: least gain in dB.
        high: greatest gain in dB.

    Raises:
        ValueError: if they are not finite, or out of order.

    Example:
        >>> RandomGain(-6.0, -6.0)(torch.ones(1, 2), torch.Generator())
        tensor([[0.5012, 0.5012]])
    """

    low: float = -6.0
    high: float = 6.0

    def __post_init__(self) -> None:
        check_number(self.low, "low")
        check_number(self.high, "high", at_least=self.low)

    def __call__(self, waveform: Tensor, generator: Generator) -> Tensor:
        """The waveform times one gain."""
        decibels = self.low + (self.high - self.low) * _uniform(generator)
        return waveform * 10 ** (decibels / 20)


@dataclass(frozen=True)
class RandomPolarity:
    """The waveform upside down, with a probability: it sounds the same alone, but adds up differently.

    Args:
        probability: from 0 to 1.

    Example:
        >>> RandomPolarity(1.0)(torch.ones(1, 2), torch.Generator())
        tensor([[-1., -1.]])
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        check_number(self.probability, "probability", at_least=0.0, at_most=1.0)

    def __call__(self, waveform: Tensor, generator: Generator) -> Tensor:
        """The waveform, or what is opposite to it."""
        return -waveform if _uniform(generator) < self.probability else waveform


@dataclass(frozen=True)
class RandomChannelSwap:
    """The channels in reverse order, with a probability: left and right of stereo change places.

    Args:
        probability: from 0 to 1.

    Example:
        >>> RandomChannelSwap(1.0)(torch.tensor([[1.0], [2.0]]), torch.Generator())
        tensor([[2.],
                [1.]])
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        check_number(self.probability, "probability", at_least=0.0, at_most=1.0)

    def __call__(self, waveform: Tensor, generator: Generator) -> Tensor:
        """The waveform, or with its channels reversed."""
        return waveform.flip(0) if _uniform(generator) < self.probability else waveform


@dataclass(frozen=True)
class RandomSpeed:
    """The waveform played faster or slower by one of some factors: pitch, formants and tempo change together.

    It has ``samples / speed`` samples. Cheap, and the usual augmentation of speech, where it makes other speakers.

    Args:
        speeds: the factors, each as likely; taken to the nearest fraction with a denominator up to 100.

    Raises:
        ValueError: if there is none, or one is not from 0.25 to 4.

    References:
        Ko, Peddinti, Povey, Khudanpur: "Audio augmentation for speech recognition", Interspeech, 2015.

    Example:
        >>> RandomSpeed([1.25])(torch.ones(1, 1000), torch.Generator()).shape
        torch.Size([1, 800])
    """

    speeds: Sequence[float] = (0.9, 1.0, 1.1)

    def __post_init__(self) -> None:
        _check_choices(self.speeds, "speeds", 0.25, 4.0)

    @property
    def stretch(self) -> float:
        """The greatest speed."""
        return max(self.speeds)

    def __call__(self, waveform: Tensor, generator: Generator) -> Tensor:
        """The waveform at one of the speeds."""
        speed = _fraction(_chosen(self.speeds, generator))
        return audio.resample(waveform, speed.numerator, speed.denominator)


@dataclass(frozen=True)
class RandomPitch:
    """The waveform transposed by one of some intervals, as long as before.

    A phase vocoder stretches it and resampling brings its duration back. Formants move along, and attacks lose some of
    their edge: small intervals sound best.

    Args:
        semitones: the intervals, each as likely; right to two cents.
        n_fft: samples of a frame of the phase vocoder; 2048 is right for 44100 Hz, 512 for 8000 to 16000 Hz.

    Raises:
        ValueError: if there is no interval, one is above two octaves, or frames are shorter than 8 samples.

    References:
        Laroche, Dolson: "Improved phase vocoder time-scale modification of audio", IEEE Transactions on Speech and
        Audio Processing, 1999.

    Example:
        >>> RandomPitch([7], n_fft=512)(torch.ones(1, 1000), torch.Generator()).shape
        torch.Size([1, 1000])
    """

    semitones: Sequence[float] = (-2, -1, 0, 1, 2)
    n_fft: int = 2048

    def __post_init__(self) -> None:
        _check_choices(self.semitones, "semitones", -24.0, 24.0)
        check_integer(self.n_fft, "n_fft", at_least=8)

    def __call__(self, waveform: Tensor, generator: Generator) -> Tensor:
        """The waveform transposed by one of the intervals."""
        ratio = _fraction(2 ** (_chosen(self.semitones, generator) / 12))
        if ratio == 1:
            return waveform
        higher = audio.resample(self._stretched(waveform, ratio), ratio.numerator, ratio.denominator)
        return fit_length(higher, waveform.shape[-1])

    def _stretched(self, waveform: Tensor, ratio: Fraction) -> Tensor:
        """The waveform in ``ratio`` times the samples, with its pitch."""
        from torchaudio.functional import phase_vocoder

        hop, window = self.n_fft // 4, torch.hann_window(self.n_fft, dtype=waveform.dtype)
        # Zeros at the ends and not reflections, which need more samples than some utterances have.
        spectrum = torch.stft(waveform, self.n_fft, hop, window=window, pad_mode="constant", return_complex=True)
        advance = torch.linspace(0, math.pi * hop, self.n_fft // 2 + 1, dtype=waveform.dtype)[:, None]
        stretched = phase_vocoder(spectrum, 1 / float(ratio), advance)
        return torch.istft(stretched, self.n_fft, hop, window=window, length=round(waveform.shape[-1] * ratio))


def _uniform(generator: Generator) -> float:
    return torch.rand((), generator=generator, dtype=torch.float64, device=generator.device).item()


def _chosen(choices: Sequence[float], generator: Generator) -> float:
    return choices[int(_uniform(generator) * len(choices))]


def _fraction(ratio: float) -> Fraction:
    return Fraction(ratio).limit_denominator(100)


def _check_choices(choices: Sequence[float], name: str, low: float, high: float) -> None:
    if not len(choices):
        raise ValueError(f"{name} must hold at least one number, got none")
    for choice in choices:
        check_number(choice, name, at_least=low, at_most=high)
