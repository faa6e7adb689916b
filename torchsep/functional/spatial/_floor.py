"""The noise floor of the channels of a spectrogram, below which phases and levels are no cue."""

import torch
from jaxtyping import Complex
from torch import Tensor

from torchsep.functional.magnitude import magnitude

__all__ = ["above_noise_floor"]

_QUIETEST = 1e-7  # power of a channel relative to the loudest one, -70 dB
_ROUNDING = 4.0  # rounding errors of a spectrogram relative to its peak, in units of the precision


def above_noise_floor(spectrogram: Complex[Tensor, "B C F N"]) -> Complex[Tensor, "B C F N"]:
    """The spectrogram of each item with what carries no spatial cue set to zero.

    These are channels 70 dB below the loudest one, and bins at the level of rounding errors, such as those of a
    constant channel. The delay and the attenuation of noise would otherwise spread its bins over all positions.

    Example:
        >>> spectrogram = torch.tensor([[[[1.0 + 0j, 0.5]], [[1e-5j, 1.0]], [[1e-4j, 1e-4]]]])
        >>> above_noise_floor(spectrogram).abs()[0, :, 0]
        tensor([[1.0000e+00, 5.0000e-01],
                [1.0000e-05, 1.0000e+00],
                [0.0000e+00, 0.0000e+00]])
    """
    level = magnitude(spectrogram.detach())
    peak = level.amax((1, 2, 3), keepdim=True)
    power = (level / peak.masked_fill(peak == 0, 1.0)).square().sum((2, 3), keepdim=True)
    quiet = power < _QUIETEST * power.amax(1, keepdim=True)
    return spectrogram.masked_fill(quiet | (level < _ROUNDING * torch.finfo(level.dtype).eps * peak), 0.0)
