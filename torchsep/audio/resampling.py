"""Waveforms at other sample rates."""

import math

import torch
from torch import Tensor

__all__ = ["resample"]

_KERNEL_LIMIT = 2**25  # values of a resampling kernel; four float64 copies of it are alive at once, 1 GB


def resample(waveform: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Waveform at another sample rate, ceil(samples * to_rate / from_rate) samples long.

    Flat to 0.88 of the lower Nyquist frequency, 6 dB down at 0.95 of it, more than 100 dB from itself on.

    Args:
        waveform: floating point samples (..., samples).
        from_rate: its sample rate in Hz.
        to_rate: the rate wanted, in Hz; where it is the same, the waveform itself comes out.

    Raises:
        ValueError: if the waveform has no samples, or is not floating point, a rate is no positive integer, or the
            rates have so small a common divisor that the filter would need more than a gigabyte.

    Gradient:
        Exact: the output is a linear function of the waveform.

    Example:
        >>> resample(torch.zeros(2, 44100), 44100, 16000).shape
        torch.Size([2, 16000])
    """
    if not waveform.is_floating_point() or not waveform.ndim or not waveform.numel():
        got = f"{waveform.dtype} of shape {tuple(waveform.shape)}"
        raise ValueError(f"waveform must be floating point with samples on its last axis, got {got}")
    for name, rate in (("from_rate", from_rate), ("to_rate", to_rate)):
        if isinstance(rate, bool) or not isinstance(rate, int) or rate < 1:
            raise ValueError(f"{name} must be a positive integer, got {rate}")
    if from_rate == to_rate:
        return waveform
    from torchaudio.functional import resample as torchaudio_resample

    divisor = math.gcd(from_rate, to_rate)
    old, new = from_rate // divisor, to_rate // divisor
    width, rolloff = 64, 0.9475937167399596
    if new * (old + 2 * math.ceil(width * old / (min(old, new) * rolloff))) > _KERNEL_LIMIT:
        advice = "resample to a rate nearby which shares a larger divisor"
        raise ValueError(f"to_rate must share a larger divisor with {from_rate} Hz, got {to_rate}; {advice}")
    length = -(-waveform.shape[-1] * new // old)
    # torchaudio computes its length in float32, which is not exact from here on; the silence goes where it pads anyway.
    extra = old * (1 + waveform.shape[-1] // (2**22 * old)) if max(length, waveform.shape[-1]) >= 2**24 else 0
    padded = torch.nn.functional.pad(waveform, (0, extra)).contiguous()
    single = padded if padded.dtype == torch.float64 else padded.float()
    out: Tensor = torchaudio_resample(single, old, new, width, rolloff, "sinc_interp_kaiser", 14.769656459379492)
    return out[..., :length].to(waveform.dtype)
