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

__all__ = ["RANGE", "frequency_marks", "mask_uri", "mel_powers", "spectrogram_uris", "time_marks"]

RANGE = 80.0  # dynamic range of the colour map in dB
BANDS = 96
_COLUMNS = 384
_MIXTURE_COLUMNS = 2 * _COLUMNS  # shown larger
_MAX_STEPS = 4  # of the time axis: the narrowest images have room for five labels
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
    """Labels of one to four frequencies and their vertical positions: 0 at the top, 1 at the bottom.

    Example:
        >>> [text for text, _ in frequency_marks(16000)], [text for text, _ in frequency_marks(300)]
        (['250 Hz', '1 kHz', '4 kHz'], ['75 Hz'])
    """
    top = sample_rate / 2
    centres = mel_filters(4097, sample_rate, BANDS).argmax(-1) * (top / 4096)
    marks = []
    for hertz in [mark for mark in (250.0, 1000.0, 4000.0, 16000.0) if mark < 0.9 * top] or [top / 2]:
        band = int((centres - hertz).abs().argmin())
        text = f"{hertz / 1000:g} kHz" if hertz >= 1000 else f"{hertz:g} Hz"
        marks.append((text, 1 - (band + 0.5) / BANDS))
    return marks


def time_marks(duration: float) -> list[tuple[str, float]]:
    """Labels of two to five round times from zero and their horizontal positions: 0 at the left, 1 at the right.

    Args:
        duration: duration of the images in seconds.

    Example:
        >>> time_marks(10.0)
        [('0', 0.0), ('5 s', 0.5), ('10 s', 1.0)]
        >>> [text for text, _ in time_marks(200.0)]
        ['0', '1:00', '2:00', '3:00']
    """
    if not duration > 0:
        return [("0", 0.0)]
    powers = [10.0**power for power in range(math.floor(math.log10(duration)) - 2, 1)]
    short = [factor * power for power in powers for factor in (1, 2, 5)]
    long = [20, 30, 60, 120, 300, 600, 1200, 1800, *(hours * 3600 for hours in (1, 2, 6, 12))]
    days = 86400.0 * math.ceil(duration / (4 * 86400))
    step = next(step for step in (*short, *long, days) if duration / step <= _MAX_STEPS)
    times = [number * step for number in range(math.floor(duration / step + 1e-9) + 1)]
    return [(_clock(time, duration), min(time / duration, 1.0)) for time in times]


def _clock(seconds: float, duration: float) -> str:
    """A time within a duration: in seconds below a minute, else as minutes or hours.

    Example:
        >>> _clock(0.5, 2.0), _clock(90, 200.0), _clock(3660, 9000.0)
        ('0.5 s', '1:30', '1:01:00')
    """
    if not seconds:
        return "0"
    if duration < 60:
        return f"{seconds:.6g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


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
