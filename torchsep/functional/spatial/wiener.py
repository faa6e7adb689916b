"""The multichannel Wiener filter of a local Gaussian model, fitted by EM."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Complex
from torch import Tensor

from torchsep.checks import check_integer
from torchsep.functional._chunks import BlockSize
from torchsep.functional._custom_ops import operator, register_gradient
from torchsep.functional._layout import empty_like_frames

__all__ = ["multichannel_wiener_filter"]

# Noise power relative to the squared peak of the mixture. Quieter bins are split equally among the sources.
_NOISE = 1.5e-10

# Added to the total power of a source, on the same scale: the covariance of a quieter source tends to zero.
_MIN_WEIGHT = 2e-18

# Additional noise relative to the power of each bin, in units of the machine precision, against rounding errors.
_ROUNDING = 4

# Complex elements of the estimates in a block.
_BLOCK = BlockSize(cpu=1 << 17, accelerator=1 << 24)

# Elements of the source powers of all iterations that are stored at once in backward.
_STORED = BlockSize(cpu=1 << 21, accelerator=1 << 27)


def multichannel_wiener_filter(
    mixture: Complex[Tensor, "*any C F N"], estimates: Complex[Tensor, "*any S C F N"], num_iterations: int = 1
) -> Complex[Tensor, "*any S C F N"]:
    r"""Source estimates from a multichannel Wiener filter, whose model is fitted to given estimates by EM.

    In each bin a source is modelled as complex Gaussian with a power that varies over time and a spatial covariance
    matrix that does not. Both are computed from the estimates, which are then replaced by the minimum mean squared
    error estimates under the model:

    .. math::
        v_{jfn} = \tfrac{1}{C} \lVert y_{jfn} \rVert^2, \qquad
        R_{jf} = \frac{\sum_n y_{jfn} y_{jfn}^H}{\sum_n v_{jfn}}, \qquad
        y_{jfn} \leftarrow v_{jfn} R_{jf} \Bigl(\sum_k v_{kfn} R_{kf} + \epsilon I\Bigr)^{-1} x_{fn}

    Finally the residual is distributed equally, so that the estimates add up to the mixture. Bins are independent, and
    all iterations are computed for a block of bins at a time.

    Args:
        mixture: complex :math:`x`, with any number of channels.
        estimates: initial estimates :math:`y_j`, whose common level does not matter.
        num_iterations: number of EM iterations, at least one.

    Gradient:
        Exact, with respect to the mixture and the estimates. Only these are saved, for any number of iterations.

    Example:
        >>> left, right = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
        >>> mixture = torch.stack((left + 1j * right, right - left)).reshape(2, 1, 2)
        >>> estimates = torch.stack((0.5 * mixture, 0.5 * mixture))
        >>> torch.allclose(multichannel_wiener_filter(mixture, estimates).sum(0), mixture)
        True

    References:
        N. Q. K. Duong, E. Vincent and R. Gribonval, "Under-determined reverberant audio source separation using a
        full-rank spatial covariance model", IEEE TASLP, 2010; A. A. Nugraha, A. Liutkus and E. Vincent, "Multichannel
        audio source separation with deep neural networks", IEEE/ACM TASLP, 2016.
    """
    check_integer(num_iterations, "num_iterations", at_least=1)
    if not mixture.is_complex() or mixture.dtype != estimates.dtype:
        raise ValueError(
            f"estimates must have the complex dtype of the mixture, got {estimates.dtype} for {mixture.dtype}"
        )
    shape = mixture.shape
    fitting = (*estimates.shape[:-4], *estimates.shape[-3:]) == shape
    if mixture.dim() < 3 or estimates.dim() != mixture.dim() + 1 or not fitting:
        raise ValueError(
            f"estimates must have shape (..., S, C, F, N) for {tuple(shape)}, got {tuple(estimates.shape)}"
        )
    whole = mixture.reshape(-1, *shape[-3:]).resolve_conj()
    filtered: Tensor = _wiener_filter(
        whole, estimates.reshape(-1, *estimates.shape[-4:]).resolve_conj(), num_iterations
    )
    return filtered.view(estimates.shape)


@dataclass(frozen=True)
class _Model:
    """Powers and spatial covariance matrices of sources in some bins."""

    power: Tensor  # (B, F, S, N)
    weight: Tensor  # (B, F, S, 1, 1)
    covariance: Tensor  # (B, F, S, C, C)

    @classmethod
    def of(cls, sources: Tensor) -> "_Model":
        """The model of sources ``(B, F, S, C, N)``."""
        power = _inner(sources, sources).div_(sources.shape[-2])
        weight = power.sum(-1)[..., None, None] + _MIN_WEIGHT
        return cls(power, weight, sources @ sources.mH / weight)

    def backward(self, sources: Tensor, power: Tensor, covariance: Tensor) -> Tensor:
        """The gradient of the sources from the gradients of power and covariance."""
        weight = -(covariance * self.covariance.conj()).real.sum((-2, -1), keepdim=True) / self.weight
        gradient = ((covariance + covariance.mH) / self.weight) @ sources
        power = (power + weight[..., 0]).mul_(2 / sources.shape[-2])
        return gradient.addcmul_(power[..., None, :], sources)


def _inner(first: Tensor, second: Tensor) -> Tensor:
    """The real part of the inner product over channels, the last axis but one."""
    total = torch.zeros(first.shape[:-2] + first.shape[-1:], dtype=first.real.dtype, device=first.device)
    for one, other in zip(first.unbind(-2), second.unbind(-2), strict=True):  # faster than a sum over that axis
        total.addcmul_(one.real, other.real).addcmul_(one.imag, other.imag)
    return total


class _Filter:
    """The Wiener filter of a model, applied to the mixture ``(B, F, C, N)``."""

    def __init__(self, mixture: Tensor, model: _Model) -> None:
        self.model = model
        self.total = model.power.sum(-2).add_(_NOISE)
        self.gain = model.power / self.total[..., None, :]
        self.noise = _NOISE / self.total
        self.inverse = _Inverse(model.covariance, self.gain, self.noise)
        self.whitened = self.inverse.solve(mixture)
        stacked = model.covariance.flatten(-3, -2)
        self.directed = (stacked @ self.whitened).view(*self.gain.shape[:-1], *self.whitened.shape[-2:])

    def sources(self) -> Tensor:
        """The filtered sources."""
        return self.gain[..., None, :] * self.directed

    def backward(self, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of mixture, power and covariance from the gradient of the sources."""
        gain = _inner(self.directed, gradient)
        directed = self.gain[..., None, :] * gradient
        mixture = self.inverse.solve(self.model.covariance.flatten(-3, -2).mH @ directed.flatten(-3, -2))
        gain -= _inner(self.directed, mixture[..., None, :, :])
        noise = -_inner(mixture, self.whitened)
        directed.addcmul_(self.gain[..., None, :], mixture[..., None, :, :], value=-1.0)
        covariance = directed @ self.whitened[..., None, :, :].mH
        common = (gain * self.gain).sum(-2).addcmul_(noise, self.noise)
        return mixture, (gain - common[..., None, :]) / self.total[..., None, :], covariance


class _Inverse:
    """Inverses of the normalised mixture covariance in every bin and frame."""

    def __init__(self, covariance: Tensor, gain: Tensor, noise: Tensor) -> None:
        self.channels = covariance.shape[-1]
        noise = noise + _ROUNDING * torch.finfo(noise.dtype).eps
        if self.channels == 1:
            self.parts: tuple[Tensor, ...] = ((covariance[..., 0].real.mT @ gain)[..., 0, :].add_(noise).reciprocal_(),)
        elif self.channels == 2:
            lower = covariance[..., 1, 0]
            entries = torch.stack((covariance[..., 0, 0].real, covariance[..., 1, 1].real, lower.real, lower.imag), -2)
            first, last, real, imaginary = (entries @ gain).unbind(-2)
            first.add_(noise).reciprocal_()
            eliminated = real.square().addcmul_(imaginary, imaginary).mul_(first)
            # The Schur complement is at least the noise, except for rounding errors.
            last = torch.maximum(last.sub_(eliminated).add_(noise), noise).reciprocal_()
            lower = torch.complex(real.mul_(first), imaginary.mul_(first))
            self.parts = first, last, lower, lower.conj().resolve_conj()
        else:
            matrix = (gain.mT.to(covariance.dtype) @ covariance.flatten(-2)).unflatten(-1, covariance.shape[-2:])
            matrix.diagonal(dim1=-2, dim2=-1).add_(noise[..., None])
            self.parts = torch.linalg.lu_factor_ex(matrix)[:2]

    def solve(self, values: Tensor) -> Tensor:
        """The inverse times values ``(B, F, C, N)``."""
        if self.channels == 1:
            return values * self.parts[0][..., None, :]
        if self.channels == 2:  # by elimination, which is accurate in the directions of the sources
            inverse_first, inverse_last, lower, upper = self.parts
            solved = torch.empty_like(values)
            first, last = solved.unbind(-2)
            torch.addcmul(values[..., 1, :], lower, values[..., 0, :], value=-1.0, out=last).mul_(inverse_last)
            torch.mul(values[..., 0, :], inverse_first, out=first).addcmul_(upper, last, value=-1.0)
            return solved
        return torch.linalg.lu_solve(*self.parts, values.mT[..., None])[..., 0].mT.contiguous()


def _blocks(estimates: Tensor, stored: int) -> Iterator[tuple[slice, slice]]:
    """Blocks of items and bins; that many powers of each source, bin and frame are stored."""
    items, sources, channels, bins, frames = estimates.shape
    device = estimates.device
    limit = _BLOCK.on(device) // (sources * channels * frames)
    if stored:
        limit = min(limit, _STORED.on(device) // (sources * stored * frames))
    # All bins of a few items are read in longer pieces than a few bins of all items.
    width = max(1, min(bins, limit))
    group = max(1, limit // width)
    for item in range(0, items, group):
        for first in range(0, bins, width):
            yield slice(item, item + group), slice(first, first + width)


def _read(spectrogram: Tensor, block: tuple[slice, slice], scale: Tensor) -> Tensor:
    """A block ``(B, F, S, C, N)`` of a spectrogram ``(B, S, C, F, N)``, divided by the scale."""
    items, bins = block
    # Copied first in the usual memory order, bins adjacent, and then permuted.
    compact = spectrogram[items, :, :, bins].mT.contiguous()
    parts = torch.view_as_real(compact).permute(0, 4, 1, 2, 3, 5)
    values = torch.empty(parts.shape, dtype=parts.dtype, device=parts.device)
    return torch.view_as_complex(torch.div(parts, scale[items], out=values))


def _write(values: Tensor, spectrogram: Tensor, block: tuple[slice, slice]) -> None:
    """Write a block ``(B, F, S, C, N)``."""
    items, bins = block
    spectrogram[items, :, :, bins] = values.permute(0, 2, 3, 1, 4)


def _scale(mixture: Tensor) -> Tensor:
    """The largest real or imaginary part of each item, ``(B, 1, 1, 1, 1, 1)``; one for silence."""
    parts, axes = torch.view_as_real(mixture), (1, 2, 3, 4)
    peak = torch.maximum(parts.amax(axes), -parts.amin(axes))
    return peak.masked_fill(peak < torch.finfo(peak.dtype).tiny, 1.0).view(-1, 1, 1, 1, 1, 1)


@operator(lambda mixture, estimates, num_iterations: empty_like_frames(estimates))  # noqa: ARG005
def _wiener_filter(mixture: Tensor, estimates: Tensor, num_iterations: int) -> Tensor:
    filtered, scale = empty_like_frames(estimates), _scale(mixture)
    for block in _blocks(estimates, stored=0):
        mixed = _read(mixture[:, None], block, scale)
        sources = _read(estimates, block, scale)
        for _ in range(num_iterations):
            sources = _Filter(mixed[:, :, 0], _Model.of(sources)).sources()
        sources += (mixed - sources.sum(2, keepdim=True)).mul_(1 / sources.shape[2])
        _write(sources.mul_(scale[block[0], ..., 0]), filtered, block)
    return filtered


@operator(
    lambda gradient, mixture, estimates, num_iterations: (empty_like_frames(mixture), empty_like_frames(estimates))  # noqa: ARG005
)
def _wiener_filter_gradient(
    gradient: Tensor, mixture: Tensor, estimates: Tensor, num_iterations: int
) -> tuple[Tensor, Tensor]:
    into_mixture, into_estimates, scale = empty_like_frames(mixture), empty_like_frames(estimates), _scale(mixture)
    for block in _blocks(estimates, stored=num_iterations):
        mixed = _read(mixture[:, None], block, scale)[:, :, 0]
        initial = _read(estimates, block, scale)
        models = [_Model.of(initial)]
        for _ in range(num_iterations - 1):
            models.append(_Model.of(_Filter(mixed, models[-1]).sources()))
        step = _Filter(mixed, models.pop())
        into_sources = _read(gradient, block, torch.ones_like(scale))
        into_mixed = into_sources.mean(2)
        into_sources -= into_mixed[:, :, None]
        while True:
            into_filtered, power, covariance = step.backward(into_sources)
            into_mixed += into_filtered
            if not models:
                break
            previous = _Filter(mixed, models.pop())
            into_sources = step.model.backward(previous.sources(), power, covariance)
            step = previous
        _write(into_mixed[:, :, None], into_mixture[:, None], block)
        _write(step.model.backward(initial, power, covariance), into_estimates, block)
    return into_mixture, into_estimates


def _setup(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(*inputs[:2])
    ctx.num_iterations = inputs[2]


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
    mixture, estimates = ctx.saved_tensors
    return *_wiener_filter_gradient(gradient.resolve_conj(), mixture, estimates, ctx.num_iterations), None


register_gradient(_wiener_filter, _setup, _backward)
