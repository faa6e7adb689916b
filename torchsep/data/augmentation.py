"""Random augmentation of source waveforms.

An augmentation is a function of a waveform ``(C, T)`` and a generator, its only source of randomness. Augmentations
that change the duration declare in ``stretch`` the maximum ratio of input to output samples.
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
    "uniform",
]


class Augmentation(Protocol):
    """Random transformation of a waveform ``(C, T)``."""

    def __call__(self, waveform: Tensor, generator: Generator, /) -> Tensor:
        """Augment the waveform."""
        ...


def stretch_of(augmentation: Augmentation | None) -> float:
    """Maximum number of input samples per output sample of an augmentation."""
    return float(getattr(augmentation, "stretch", 1.0))


def fit_length(waveform: Tensor, length: int) -> Tensor:
    """Truncate or zero-pad a waveform to a length in samples."""
    missing = length - waveform.shape[-1]
    return waveform[..., :length] if missing <= 0 else torch.nn.functional.pad(waveform, (0, missing))


@dataclass(frozen=True)
class Compose:
    """Composition of several augmentations.

    Args:
        augmentations: augmentations, applied in order.

    Example:
        >>> augment = Compose([RandomGain(-6.0, 6.0), RandomPolarity()])
        >>> augment(torch.ones(1, 4), torch.Generator().manual_seed(0)).shape
        torch.Size([1, 4])
    """

    augmentations: Sequence[Augmentation]

    @property
    def stretch(self) -> float:
        """Maximum number of input samples per output sample of the composition."""
        return math.prod(stretch_of(augmentation) for augmentation in self.augmentations)

    def __call__(self, waveform: Tensor, generator: Generator) -> Tensor:
        """Apply all augmentations."""
        for augmentation in self.augmentations:
            waveform = augmentation(waveform, generator)
        return waveform


@dataclass(frozen=True)
class RandomGain:
    """Random gain, uniformly distributed in decibels.

    Args:
        low: minimum gain in dB.
        high: maximum gain in dB.

    Raises:
        ValueError: if the bounds are not finite or not in order.

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
        """Apply a random gain."""
        decibels = self.low + (self.high - self.low) * uniform(generator)
        return waveform * 10 ** (decibels / 20)


@dataclass(frozen=True)
class RandomPolarity:
    """Random polarity inversion.

    Args:
        probability: probability of the inversion, from 0 to 1.

    Example:
        >>> RandomPolarity(1.0)(torch.ones(1, 2), torch.Generator())
        tensor([[-1., -1.]])
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        check_number(self.probability, "probability", at_least=0.0, at_most=1.0)

    def __call__(self, waveform: Tensor, generator: Generator) -> Tensor:
        """Invert the waveform at random."""
        return -waveform if uniform(generator) < self.probability else waveform


@dataclass(frozen=True)
class RandomChannelSwap:
    """Random reversal of the channel order, which swaps left and right of stereo signals.

    Args:
        probability: probability of the swap, from 0 to 1.

    Example:
        >>> RandomChannelSwap(1.0)(torch.tensor([[1.0], [2.0]]), torch.Generator())
        tensor([[2.],
                [1.]])
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        check_number(self.probability, "probability", at_least=0.0, at_most=1.0)

    def __call__(self, waveform: Tensor, generator: Generator) -> Tensor:
        """Reverse the channels at random."""
        return waveform.flip(0) if uniform(generator) < self.probability else waveform


@dataclass(frozen=True)
class RandomSpeed:
    """Random speed perturbation: resampling by a random factor, which changes pitch, formants and tempo together.

    The output has ``samples / speed`` samples. It is cheap and standard for speech, where it creates new speakers.

    Args:
        speeds: equally likely factors, rounded to the nearest fraction with a denominator up to 100.

    Raises:
        ValueError: if there are no factors, or one is not between 0.25 and 4.

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
        """Maximum speed."""
        return max(self.speeds)

    def __call__(self, waveform: Tensor, generator: Generator) -> Tensor:
        """Resample the waveform by a random factor."""
        speed = _fraction(_choice(self.speeds, generator))
        return audio.resample(waveform, speed.numerator, speed.denominator)


@dataclass(frozen=True)
class RandomPitch:
    """Random pitch shift that preserves the duration.

    A phase vocoder stretches the waveform, and resampling restores its duration. Formants are shifted too and
    transients are smeared, so that small intervals sound best.

    Args:
        semitones: equally likely intervals, accurate to two cents.
        n_fft: frame length of the phase vocoder in samples; 2048 suits 44100 Hz, 512 suits 8000 to 16000 Hz.

    Raises:
        ValueError: if there are no intervals, one exceeds two octaves, or ``n_fft`` is below 8.

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
        """Shift the pitch by a random interval."""
        ratio = _fraction(2 ** (_choice(self.semitones, generator) / 12))
        if ratio == 1:
            return waveform
        shifted = audio.resample(self._stretched(waveform, ratio), ratio.numerator, ratio.denominator)
        return fit_length(shifted, waveform.shape[-1])

    def _stretched(self, waveform: Tensor, ratio: Fraction) -> Tensor:
        """Stretch the waveform in time by ``ratio``, preserving its pitch."""
        from torchaudio.functional import phase_vocoder

        hop, window = self.n_fft // 4, torch.hann_window(self.n_fft, dtype=waveform.dtype)
        # Zero padding, as reflection needs more samples than short utterances have.
        spectrum = torch.stft(waveform, self.n_fft, hop, window=window, pad_mode="constant", return_complex=True)
        advance = torch.linspace(0, math.pi * hop, self.n_fft // 2 + 1, dtype=waveform.dtype)[:, None]
        stretched = phase_vocoder(spectrum, 1 / float(ratio), advance)
        return torch.istft(stretched, self.n_fft, hop, window=window, length=round(waveform.shape[-1] * ratio))


def uniform(generator: Generator) -> float:
    """A random number from 0 to 1."""
    return torch.rand((), generator=generator, dtype=torch.float64, device=generator.device).item()


def _choice(choices: Sequence[float], generator: Generator) -> float:
    return choices[int(uniform(generator) * len(choices))]


def _fraction(ratio: float) -> Fraction:
    return Fraction(ratio).limit_denominator(100)


def _check_choices(choices: Sequence[float], name: str, low: float, high: float) -> None:
    if not len(choices):
        raise ValueError(f"{name} must hold at least one number, got none")
    for choice in choices:
        check_number(choice, name, at_least=low, at_most=high)
