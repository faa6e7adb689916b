"""Periodicity of spectrograms: autocorrelation, beat spectrum, and the mask of a repeating segment."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from torchsep.functional._chunks import map_frames
from torchsep.functional._comparator_network import middles
from torchsep.functional._custom_ops import operator, register_gradient
from torchsep.functional._layout import empty_like_frames, frames_first, in_shape_of
from torchsep.functional.masks import clipped_ratio_mask

__all__ = ["autocorrelation", "beat_spectrum", "periodic_median", "repeating_mask"]

# Elements of the spectrogram that are processed together, which bounds the memory of the repetitions.
_BLOCK = 1 << 22


def autocorrelation(
    x: Float[Tensor, "*any N"], dims: tuple[int, ...] = (), max_lag: int | None = None
) -> Float[Tensor, "*some K"]:
    r"""The unbiased autocorrelation along the last axis, averaged over other axes.

    .. math::
        r_k = \frac{1}{N - k} \sum_{n=0}^{N - 1 - k} x_n x_{n + k}

    Args:
        x: values.
        dims: axes to average over. The power spectra are averaged, so a single inverse transform is needed.
        max_lag: maximum lag :math:`k`; fewer lags take less time. All ``N`` if None.

    Gradient:
        Exact.

    Example:
        >>> autocorrelation(torch.tensor([1.0, 0.0, 1.0, 0.0])).round(decimals=3)
        tensor([0.5000, 0.0000, 0.5000, 0.0000])
    """
    length = x.shape[-1]
    lags = length if max_lag is None else min(max_lag + 1, length)
    n_fft = _fast_length(length + lags - 1)  # long enough that circular wrap-around is beyond the last lag
    squares = torch.view_as_real(torch.fft.rfft(x, n=n_fft)).square()
    power = (squares.mean([dim % x.dim() for dim in dims]) if dims else squares).sum(-1)
    summed = torch.fft.irfft(power, n=n_fft)[..., :lags]
    return summed / torch.arange(length, length - lags, -1, device=x.device, dtype=x.dtype)


def periodic_median(x: Float[Tensor, "B *any N"], period: Int[Tensor, " B"]) -> Float[Tensor, "B *any N"]:
    """At each frame, the median over all frames at a distance of an integer number of periods.

    Events in fewer than half of the repetitions are removed. An incomplete last repetition is included. For an even
    number of frames the mean of the two middle values is returned.

    Args:
        x: values; NaN propagates to all repetitions of its frame.
        period: period of each batch item in frames, at least 1.

    Gradient:
        Exact: it goes to the one or two selected frames. Two indices per output are saved for backward.

    Example:
        >>> x = torch.tensor([[1.0, 5.0, 1.0, 5.0, 9.0, 5.0]])
        >>> periodic_median(x, torch.tensor([2]))
        tensor([[1., 5., 1., 5., 1., 5.]])
    """
    if period.shape != x.shape[:1] or period.is_floating_point():
        wanted = tuple(x.shape[:1])
        raise ValueError(f"period must be integers of shape {wanted}, got {period.dtype} {tuple(period.shape)}")
    lower, upper = _periodic_middles(x, period)
    return map_frames(lambda lower, upper: 0.5 * lower + 0.5 * upper, lower, upper)


def beat_spectrum(magnitude: Float[Tensor, "B C F N"], max_lag: int | None = None) -> Float[Tensor, "B K"]:
    r"""The beat spectrum: self-similarity of a spectrogram at each lag, 1 at lag zero.

    It is the mean over channels and bins of the unbiased autocorrelation of the power spectrogram along time.

    Args:
        magnitude: non-negative spectrogram, of any level.
        max_lag: maximum lag, in frames; all if None.

    Example:
        >>> magnitude = torch.tensor([1.0, 0.0]).repeat(1, 1, 3, 4)
        >>> beat_spectrum(magnitude)[0, :4].abs().round(decimals=2)
        tensor([1., 0., 1., 0.])
    """
    peak = magnitude.detach().amax((1, 2, 3), keepdim=True)
    power = (magnitude / peak.masked_fill(peak == 0, 1.0)).square()
    similarity = autocorrelation(power, dims=(1, 2), max_lag=max_lag)
    energy = similarity[:, :1]
    return similarity / energy.masked_fill(energy == 0, 1.0)


def repeating_mask(magnitude: Float[Tensor, "B C F N"], period: Int[Tensor, " B"]) -> Float[Tensor, "B C F N"]:
    r"""The mask of the repeating background, modelled by the median over all repetitions.

    .. math::
        M = \frac{\min(S, V)}{V}, \qquad S_{fn} = \operatorname{median}_k V_{f, n + kp}

    Args:
        magnitude: non-negative spectrogram :math:`V`.
        period: period :math:`p` of each batch item, in frames.

    Example:
        >>> repeating_mask(torch.tensor([[[[1.0, 2.0, 1.0, 8.0, 1.0, 2.0]]]]), torch.tensor([2]))
        tensor([[[[1.0000, 1.0000, 1.0000, 0.2500, 1.0000, 1.0000]]]])
    """
    return clipped_ratio_mask(periodic_median(magnitude, period), magnitude)


def _fast_length(length: int) -> int:
    """The smallest length, at least a given one, without a prime factor above 5."""
    while True:
        quotient = length
        for factor in (2, 3, 5):
            while quotient % factor == 0:
                quotient //= factor
        if quotient == 1:
            return length
        length += 1


def _repetitions(length: int, period: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The frames of the repetitions of each phase ``(B, R, P)``, their number ``(B, P)``, and whether they exist."""
    longest, shortest = int(period.max()), int(period.min())
    if shortest < 1:
        raise ValueError(f"period must be at least 1, got {shortest}")
    phase = torch.arange(min(longest, length), device=period.device)
    repetition = torch.arange(-(-length // shortest), device=period.device)
    frame = phase + repetition[:, None] * period[:, None, None]
    exists = (frame < length) & (phase < period[:, None, None])
    return frame.clamp(max=length - 1), exists.sum(1), exists


def _over_blocks(rows: Tensor, period: Tensor) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
    """Blocks of the last axis with gathered repetitions ``(R, items, P, E)``, their number, and whether they exist."""
    frame, count, exists = _repetitions(rows.shape[1], period)
    frame, exists = frame.movedim(1, 0), exists.movedim(1, 0)
    item = torch.arange(len(rows), device=rows.device)[:, None]
    together = max(1, _BLOCK // frame.numel())
    for first in range(0, rows.shape[-1], together):
        block = slice(first, first + together)
        yield block, rows[..., block][item, frame], count[..., None], exists[..., None]


def _of_items(period: Tensor, items: int) -> Tensor:
    """The periods repeated for the items of :func:`frames_first`."""
    return period.repeat_interleave(items // len(period))


def _phases(length: int, period: Tensor) -> tuple[Tensor, Tensor]:
    """Indices that map the values of the phases to each frame."""
    item = torch.arange(len(period), device=period.device)[:, None]
    return item, torch.arange(length, device=period.device) % period[:, None]


@operator(lambda x, period: (empty_like_frames(x), empty_like_frames(x)))  # noqa: ARG005
def _periodic_middles(x: Tensor, period: Tensor) -> tuple[Tensor, Tensor]:
    rows, lower, upper = (frames_first(tensor) for tensor in (x, empty_like_frames(x), empty_like_frames(x)))
    period = _of_items(period, len(rows))
    phases = _phases(rows.shape[1], period)
    for block, values, count, exists in _over_blocks(rows, period):
        low, high = middles(values, count, exists)
        lower[..., block], upper[..., block] = low[phases], high[phases]
    return in_shape_of(lower, x), in_shape_of(upper, x)


@operator(lambda x, period, chosen: torch.empty_like(frames_first(chosen), dtype=torch.int32))  # noqa: ARG005
def _locate_repetition(x: Tensor, period: Tensor, chosen: Tensor) -> Tensor:
    """For each frame, the first repetition of its phase that equals the selected value."""
    rows, wanted = frames_first(x), frames_first(chosen)
    period = _of_items(period, len(rows))
    repetition = torch.empty_like(wanted, dtype=torch.int32)
    phases = _phases(rows.shape[1], period)
    starts = slice(int(period.max()))  # the first frame of every phase
    for block, values, _, exists in _over_blocks(rows, period):
        found = (values == wanted[:, starts, block]) & exists
        repetition[..., block] = found.byte().argmax(0)[phases].int()
    return repetition


@operator(lambda gradient, period, repetition: empty_like_frames(gradient))  # noqa: ARG005
def _scatter_to_repetition(gradient: Tensor, period: Tensor, repetition: Tensor) -> Tensor:
    """The sum, at each frame, of the gradients of the frames that selected it."""
    rows = frames_first(gradient)
    scattered = torch.zeros_like(rows, memory_format=torch.contiguous_format)
    period = _of_items(period, len(rows))
    _, phase = _phases(rows.shape[1], period)
    together = max(1, _BLOCK // rows[..., 0].numel())
    for first in range(0, rows.shape[-1], together):
        block = slice(first, first + together)
        frame = phase[..., None] + repetition[..., block].long() * period[:, None, None]
        scattered[..., block].scatter_add_(1, frame, rows[..., block])
    return in_shape_of(scattered, gradient)


def _setup(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
    x, period = inputs
    lower, upper = output
    ctx.save_for_backward(period, _locate_repetition(x, period, lower), _locate_repetition(x, period, upper))


def _backward(ctx: Any, lower: Tensor, upper: Tensor) -> tuple[Tensor, None]:
    period, lower_repetition, upper_repetition = ctx.saved_tensors
    below = _scatter_to_repetition(lower, period, lower_repetition)
    return below + _scatter_to_repetition(upper, period, upper_repetition), None


register_gradient(_periodic_middles, _setup, _backward)
