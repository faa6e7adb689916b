"""Band-limited resampling of waveforms."""

import math
from contextlib import nullcontext
from numbers import Integral

import torch
from torch import Tensor

from torchsep.functional._custom_ops import without_autocast

__all__ = ["resample"]

_KERNEL_LIMIT = 2**25  # values of the filter kernel; four float64 copies exist at once, 1 GB


def resample(waveform: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Waveform resampled by a Kaiser-windowed sinc filter, with ceil(T * to_rate / from_rate) samples.

    The passband ends at 0.88 of the lower Nyquist frequency; the attenuation is 6 dB at 0.95 and more than 100 dB from
    1.0 on.

    Args:
        waveform: floating point samples ``(..., T)``.
        from_rate: its sample rate in Hz.
        to_rate: sample rate of the result in Hz; if equal, the waveform is returned as it is.

    Raises:
        ValueError: if the waveform is empty or not floating point, a rate is not a positive integer, or the greatest
            common divisor of the rates is so small that the filter would need more than a gigabyte.

    Gradient:
        Exact: the output is a linear function of the waveform.

    Example:
        >>> resample(torch.zeros(2, 44100), 44100, 16000).shape
        torch.Size([2, 16000])
    """
    if not waveform.is_floating_point() or not waveform.ndim or not waveform.numel():
        got = f"{waveform.dtype} of shape {tuple(waveform.shape)}"
        raise ValueError(f"waveform must be floating point with samples on its last axis, got {got}")
    rates: tuple[tuple[str, object], ...] = (("from_rate", from_rate), ("to_rate", to_rate))
    for name, rate in rates:
        if isinstance(rate, bool) or not isinstance(rate, Integral) or rate < 1:
            raise ValueError(f"{name} must be a positive integer, got {rate}")
    from_rate, to_rate = int(from_rate), int(to_rate)
    if from_rate == to_rate:
        return waveform
    from torchaudio.functional import resample as torchaudio_resample

    divisor = math.gcd(from_rate, to_rate)
    old, new = from_rate // divisor, to_rate // divisor
    width, rolloff = 64, 0.9475937167399596
    if new * (old + 2 * math.ceil(width * old / (min(old, new) * rolloff))) > _KERNEL_LIMIT:
        advice = "resample to a nearby rate with a larger common divisor"
        raise ValueError(f"to_rate must have a larger common divisor with {from_rate} Hz, got {to_rate}; {advice}")
    length = -(-waveform.shape[-1] * new // old)
    # torchaudio computes the length in float32, which is inexact from 2**24 on; extra zeros are where it pads anyway.
    extra = old * (1 + waveform.shape[-1] // (2**22 * old)) if max(length, waveform.shape[-1]) >= 2**24 else 0
    padded = torch.nn.functional.pad(waveform, (0, extra)).contiguous()
    single = padded if padded.dtype == torch.float64 else padded.float()
    # torchaudio computes its filter on the default device; the compiler cannot change that. Autocast would halve the
    # precision.
    with nullcontext() if torch.compiler.is_compiling() else single.device, without_autocast(single.device):
        out: Tensor = torchaudio_resample(single, old, new, width, rolloff, "sinc_interp_kaiser", 14.769656459379492)
    return out[..., :length].to(waveform.dtype)
