"""Images of spectrograms and masks."""

import base64
import io
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional.mel import mel_filters
from torchsep.report.sounds import Excerpt
from torchsep.transforms import STFT

__all__ = ["RANGE", "frequency_marks", "mask_uri", "mel_powers", "spectrogram_uris"]

RANGE = 80.0  # dynamic range of the colour map in dB
BANDS = 96
_COLUMNS = 384
_MIXTURE_COLUMNS = 2 * _COLUMNS  # shown larger
_WINDOW = 0.05  # seconds
COLOURS = 32  # steps of 2.5 dB: half the bytes of 64 steps, and hardly visible once the image is scaled


def mel_powers(excerpts: Sequence[Excerpt]) -> list[Float[Tensor, "M N"]]:
    """Mel spectrogram power of each excerpt, averaged over channels, on a common frequency axis, pooled over time."""
    top = max((excerpt.sample_rate for excerpt in excerpts), default=0) / 2
    return [_mel_power(excerpt, top) for excerpt in excerpts]


def _mel_power(excerpt: Excerpt, top: float) -> Tensor:
    waveform, sample_rate = excerpt.waveform, excerpt.sample_rate
    stft = STFT(max(4, 2 ** round(math.log2(_WINDOW * sample_rate))))
    filters = mel_filters(stft.num_bins, sample_rate, BANDS, max_frequency_hz=top)
    power = sum(stft(channel).abs().square() for channel in waveform) / len(waveform)
    max_columns = _MIXTURE_COLUMNS if excerpt.track.kind == "mixture" else _COLUMNS
    columns = min(max_columns, stft.num_frames(waveform.shape[-1]))
    pooled = torch.nn.functional.adaptive_avg_pool1d(power, columns)
    return filters.to(pooled) @ pooled


def spectrogram_uris(powers: Sequence[Float[Tensor, "M N"]]) -> list[str]:
    """Spectrogram images as ``data:`` URIs, with a common range of 80 dB below the maximum."""
    loudest = max((float(power.max()) for power in powers), default=0.0)
    if not loudest:
        return [_png(torch.zeros_like(power), "inferno") for power in powers]
    return [_png(1 + 10 * (power / loudest).log10() / RANGE, "inferno") for power in powers]


def mask_uri(estimate: Float[Tensor, "M N"], mixture: Float[Tensor, "M N"]) -> str:
    """Image of the ratio of the magnitudes of estimate and mixture, from black (0) to white (1).

    Bins more than 80 dB below the maximum of the mixture are black.
    """
    columns = min(estimate.shape[1], mixture.shape[1])
    estimate, mixture = (
        torch.nn.functional.adaptive_avg_pool1d(power, columns) if power.shape[1] != columns else power
        for power in (estimate, mixture)
    )
    is_active = (mixture > mixture.max() * 10 ** (-RANGE / 10)) & (mixture > 0)
    ratio = torch.where(is_active, estimate / torch.where(is_active, mixture, 1.0), 0.0)
    return _png(ratio.sqrt(), "gray")


def frequency_marks(sample_rate: int) -> list[tuple[str, float]]:
    """Labels of a few frequencies and their vertical positions: 0 at the top, 1 at the bottom."""
    top = sample_rate / 2
    centres = mel_filters(4097, sample_rate, BANDS).argmax(-1) * (top / 4096)
    marks = []
    for hertz in (250, 1000, 4000, 16000):
        if hertz < 0.9 * top:
            band = int((centres - hertz).abs().argmin())
            marks.append((f"{hertz // 1000} kHz" if hertz >= 1000 else f"{hertz} Hz", 1 - (band + 0.5) / BANDS))
    return marks


def _png(values: Float[Tensor, "M N"], colours: str) -> str:
    """PNG image of values between 0 and 1 in a colour map, with low frequencies at the bottom."""
    from matplotlib import colormaps
    from PIL import Image  # a dependency of matplotlib

    steps = (values.clamp(0, 1) * (COLOURS - 1)).round().to(torch.uint8).flip(0).contiguous()
    picture = Image.frombytes("P", (steps.shape[1], steps.shape[0]), bytes(steps.flatten().tolist()))
    table = colormaps[colours].resampled(COLOURS)(range(COLOURS), bytes=True)[:, :3]
    picture.putpalette(table.flatten().tolist())
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
