"""Random placement, level and timbre of sources, to build mixtures of dry recordings.

Augmentations as those of :mod:`torchsep.data.augmentation`: functions of a waveform ``(C, T)`` and a generator.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from torchsep.checks import check_integer, check_number
from torchsep.data.augmentation import uniform

__all__ = ["LoudnessNormalization", "RandomDelay", "RandomEqualizer", "RandomPan"]

_BLOCK = 0.4  # seconds, of the loudness measurement


@dataclass(frozen=True)
class RandomPan:
    r"""Random constant-power panning of stereo waveforms.

    The mean of the channels is multiplied by :math:`\sqrt{2} \cos \varphi` and :math:`\sqrt{2} \sin \varphi`, so that a
    source in the centre keeps its level.

    Args:
        low: leftmost position, at least -1.
        high: rightmost position, at most 1.

    Raises:
        ValueError: if the positions are not in order; on a call, if the waveform is not stereo.

    Example:
        >>> RandomPan(1.0, 1.0)(torch.ones(2, 1), torch.Generator()).round(decimals=3)
        tensor([[0.0000],
                [1.4140]])
    """

    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        check_number(self.low, "low", at_least=-1.0, at_most=1.0)
        check_number(self.high, "high", at_least=self.low, at_most=1.0)

    def __call__(self, waveform: Tensor, generator: Generator) -> Tensor:
        """Place the waveform at random."""
        _check_stereo(waveform)
        angle = (self.low + (self.high - self.low) * uniform(generator) + 1) * math.pi / 4
        gains = waveform.new_tensor([math.cos(angle), math.sin(angle)]) * math.sqrt(2)
        return gains[:, None] * waveform.mean(0)


@dataclass(frozen=True)
class RandomDelay:
    """Random delay between the channels of stereo waveforms, as of two microphones that are apart.

    Either channel is delayed by a whole number of samples, from zero to the maximum, with zeros before it.

    Args:
        max_delay_samples: maximum delay.

    Raises:
        ValueError: if the delay is negative; on a call, if the waveform is not stereo.

    Example:
        >>> RandomDelay(1)(torch.ones(2, 3), torch.Generator().manual_seed(0))
        tensor([[1., 1., 1.],
                [0., 1., 1.]])
    """

    max_delay_samples: int = 5

    def __post_init__(self) -> None:
        check_integer(self.max_delay_samples, "max_delay_samples", at_least=0)

    def __call__(self, waveform: Tensor, generator: Generator) -> Tensor:
        """Delay one channel at random."""
        _check_stereo(waveform)
        delay = math.floor((2 * self.max_delay_samples + 1) * uniform(generator)) - self.max_delay_samples
        late = 0 if delay < 0 else 1
        shift = min(abs(delay), waveform.shape[1])
        delayed = torch.nn.functional.pad(waveform[late], (shift, 0))[: waveform.shape[1]]
        return torch.stack((delayed, waveform[1]) if late == 0 else (waveform[0], delayed))


@dataclass(frozen=True)
class LoudnessNormalization:
    """Gain to an integrated loudness according to ITU-R BS.1770-4; waveforms of no loudness are unchanged.

    Waveforms shorter than 0.4 s are repeated for the measurement.

    Args:
        sample_rate: sample rate of the waveforms in Hz.
        target: loudness in LUFS.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> tone = torch.sin(torch.arange(48000) * 0.1309)[None]
        >>> (LoudnessNormalization(48000, -23.0)(0.01 * tone, torch.Generator()).abs().max() > 0.05).item()
        True
    """

    sample_rate: int
    target: float = -23.0

    def __post_init__(self) -> None:
        check_integer(self.sample_rate, "sample_rate", at_least=1)
        check_number(self.target, "target", at_most=0.0)

    def __call__(self, waveform: Tensor, generator: Generator) -> Tensor:  # noqa: ARG002 - nothing is random
        """Apply the gain."""
        from torchaudio.functional import loudness

        repeats = math.ceil(_BLOCK * self.sample_rate / max(1, waveform.shape[-1]))
        measured = loudness(waveform.repeat(1, max(1, repeats)), self.sample_rate).item()
        return waveform * 10 ** ((self.target - measured) / 20) if math.isfinite(measured) else waveform


@dataclass(frozen=True)
class RandomEqualizer:
    """Random peaking filter: one band is raised or lowered.

    Args:
        sample_rate: sample rate of the waveforms in Hz.
        gain_db: maximum gain or attenuation in dB.
        min_frequency_hz: minimum centre frequency.
        max_frequency_hz: maximum centre frequency; 0.4 of the sample rate if None. Frequencies are distributed
            logarithmically.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> RandomEqualizer(8000)(torch.ones(1, 100), torch.Generator()).shape
        torch.Size([1, 100])
    """

    sample_rate: int
    gain_db: float = 6.0
    min_frequency_hz: float = 100.0
    max_frequency_hz: float | None = None

    def __post_init__(self) -> None:
        check_integer(self.sample_rate, "sample_rate", at_least=1)
        check_number(self.gain_db, "gain_db", at_least=0.0)
        check_number(self.min_frequency_hz, "min_frequency_hz", above=0.0)
        check_number(self._highest, "max_frequency_hz", at_least=self.min_frequency_hz, at_most=self.sample_rate / 2)

    @property
    def _highest(self) -> float:
        return 0.4 * self.sample_rate if self.max_frequency_hz is None else self.max_frequency_hz

    def __call__(self, waveform: Tensor, generator: Generator) -> Tensor:
        """Filter the waveform at random."""
        from torchaudio.functional import equalizer_biquad

        frequency = self.min_frequency_hz * (self._highest / self.min_frequency_hz) ** uniform(generator)
        gain = self.gain_db * (2 * uniform(generator) - 1)
        # Without clipping, which torchaudio does at one.
        peak = waveform.abs().max().clamp(min=torch.finfo(waveform.dtype).tiny) * 4 * 10 ** (self.gain_db / 20)
        filtered: Tensor = equalizer_biquad(waveform / peak, self.sample_rate, frequency, gain)
        return filtered * peak


def _check_stereo(waveform: Tensor) -> None:
    if waveform.shape[0] != 2:
        raise ValueError(f"waveform must have 2 channels to be placed in stereo, got {waveform.shape[0]}")
