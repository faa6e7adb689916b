"""Peaks of the 2D Fourier transform of a spectrogram, and the mask of the repeating background."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchsep.functional._chunks import map_frames
from torchsep.functional.filters.box_filter import box_filter
from torchsep.functional.filters.rank_filter import maximum_filter, minimum_filter
from torchsep.functional.magnitude import magnitude as absolute
from torchsep.functional.masks import clipped_ratio_mask

__all__ = ["ft2d_mask", "peak_prominence", "strong_peaks"]

# Minimum standard deviation within a neighbourhood, relative to the maximum of the transform.
_LEAST_DEVIATION = 1e-7

# Tolerance of equality, in units of machine epsilon.
_ROUNDING = 64


def peak_prominence(transform: Float[Tensor, "*any F N"], size: Sequence[int]) -> Float[Tensor, "*any F N"]:
    r"""The prominence of each local maximum in its neighbourhood, relative to the largest; 0 elsewhere.

    The prominence is :math:`(A - \operatorname{mean}) / \operatorname{std}`.

    Args:
        transform: magnitudes :math:`A` of the 2D Fourier transform of real values, at most 1.
        size: size of the neighbourhoods, in rows and in columns. Both axes are periodic.

    Gradient:
        Exact, with the positions of the local maxima held fixed.

    Example:
        >>> peak_prominence(torch.tensor([[1.0, 0.1, 0.4, 0.1, 0.1, 0.4, 0.1]]), (1, 3)).round(decimals=2)
        tensor([[1., 0., 1., 0., 0., 1., 0.]])
    """
    peaks = _local_maxima(transform, size)
    mean = _filter(box_filter, transform, size)
    square = _filter(box_filter, transform.square(), size)
    rounding = _ROUNDING * torch.finfo(transform.dtype).eps

    def deviations(transform: Tensor, mean: Tensor, square: Tensor, peaks: Tensor) -> Tensor:
        variance = torch.maximum(square - mean.square(), rounding * square + _LEAST_DEVIATION**2)
        return ((transform - mean) / variance.sqrt()).masked_fill(~peaks, 0.0)

    prominence = map_frames(deviations, transform, mean, square, peaks)
    # The maximum of n different values is at least 1 / sqrt(n - 1) deviations above their mean; less is rounding.
    return prominence / prominence.amax((-2, -1), keepdim=True).clamp(min=1 / (size[0] * size[1]))


def strong_peaks(transform: Float[Tensor, "*any F N"], size: Sequence[int]) -> Float[Tensor, "*any F N"]:
    """1 at each local maximum whose neighbourhood spans more than the transform's standard deviation; 0 elsewhere.

    Args:
        transform: magnitudes of the 2D Fourier transform of real values, at most 1.
        size: size of the neighbourhoods, in rows and in columns. Both axes are periodic.

    Gradient:
        None: the peaks are discrete.

    Example:
        >>> strong_peaks(torch.tensor([[1.0, 0.1, 0.6, 0.1, 0.1, 0.6, 0.1]]), (1, 3))
        tensor([[1., 0., 1., 0., 0., 1., 0.]])
    """
    transform = transform.detach()
    span = _filter(maximum_filter, transform, size) - _filter(minimum_filter, transform, size)
    deviation = transform.std((-2, -1), correction=0, keepdim=True)
    strong = span > deviation.clamp(min=_ROUNDING * torch.finfo(transform.dtype).eps)
    return (_local_maxima(transform, size) & strong).to(transform.dtype)


def ft2d_mask(
    magnitude: Float[Tensor, "*any F N"],
    neighborhood_size: Sequence[int] = (1, 25),
    quadrants_to_keep: Sequence[int] = (0, 1, 2, 3),
    filter_approach: str = "local_std",
    use_bg_2dft: bool = True,  # noqa: FBT001 - same arguments as the separator
) -> Float[Tensor, "*any F N"]:
    r"""The mask of the repeating background, modelled by the peaks of the spectrogram's 2D Fourier transform.

    .. math::
        M = \frac{\min(S, V)}{V}, \qquad S = \left| \mathcal{F}^{-1}(W \, \mathcal{F}(V)) \right|

    The weights :math:`W` are the maximum of the weights of the peaks and of their mirror images in time.

    Args:
        magnitude: non-negative spectrogram :math:`V`, of any level.
        neighborhood_size: size of the neighbourhood in which a peak is the maximum, in rows and in columns.
        quadrants_to_keep: quadrants of :math:`W`, as for :class:`FT2D`.
        filter_approach: ``local_std`` for :func:`peak_prominence`, ``original`` for :func:`strong_peaks`.
        use_bg_2dft: if False, :math:`S` is computed with :math:`1 - W`, and the mask is :math:`1 - M`.

    Gradient:
        Exact, with the positions of the peaks held fixed.

    Example:
        >>> beats = torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(8)
        >>> beats[17] = 1.0
        >>> ft2d_mask(beats.expand(5, 32), neighborhood_size=(1, 5))[0, 15:20].round(decimals=1)
        tensor([1.0000, 1.0000, 0.2000, 1.0000, 1.0000])
    """
    total = magnitude.sum((-2, -1), keepdim=True)
    level = magnitude / total.masked_fill(total == 0, 1.0)
    transform = torch.fft.fft2(level)  # at most 1, its value at zero
    find = peak_prominence if filter_approach == "local_std" else strong_peaks
    weights = _with_mirror_images(find(absolute(transform), neighborhood_size))
    weights = (weights if use_bg_2dft else 1 - weights) * _in_quadrants(weights, quadrants_to_keep)
    model = absolute(torch.fft.ifft2(transform * weights))
    del transform, weights  # frees memory of long signals
    mask = clipped_ratio_mask(model, level)
    return mask if use_bg_2dft else (1 - mask).masked_fill(level == 0, 1.0)


def _filter(function: Callable[..., Tensor], x: Tensor, size: Sequence[int]) -> Tensor:
    """A filter along periodic rows and columns; columns stay adjacent in memory, as in spectrograms."""
    columns = x.mT
    for dim, length in zip((-1, -2), size, strict=True):
        columns = function(columns, length, dim=dim, mode="wrap") if length > 1 else columns
    return columns.mT


def _local_maxima(transform: Tensor, size: Sequence[int]) -> Bool[Tensor, "*any F N"]:
    """Where the transform is the maximum of its neighbourhood.

    The transform is point-symmetric. Of two symmetric values in one neighbourhood both count, independent of rounding.
    """
    transform = transform.detach()
    peaks = transform == _filter(maximum_filter, transform, size)
    return peaks | peaks.flip(-2, -1).roll((1, 1), (-2, -1))


def _with_mirror_images(weights: Tensor) -> Tensor:
    """The maximum of each weight and that of its mirror image in time.

    The image is the flipped transform centred at zero. For an even number of frames it is off by one step, as in other
    implementations of the method, whose results are reproduced.
    """
    return torch.maximum(weights, weights.flip(-1).roll(weights.shape[-1] % 2, -1))


def _in_quadrants(weights: Tensor, quadrants: Sequence[int]) -> Float[Tensor, "F N"]:
    """1 in the quadrants to keep."""
    rows, columns = weights.shape[-2:]
    lower = torch.arange(rows, device=weights.device) >= rows // 2
    right = torch.arange(columns, device=weights.device) >= columns // 2
    chosen = [[0 in quadrants, 1 in quadrants], [2 in quadrants, 3 in quadrants]]
    kept = torch.tensor(chosen, device=weights.device).to(weights)
    return kept[:, right.long()].mT[:, lower.long()].mT
