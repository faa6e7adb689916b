"""The multichannel Wiener filter of a local Gaussian model, fitted by expectation maximisation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Complex
from torch import Tensor

from torchsep.checks import check_integer
from torchsep.functional._chunks import BlockSize
from torchsep.functional._custom_ops import operator, register_gradient
from torchsep.functional._layout import room_like

__all__ = ["multichannel_wiener_filter"]

# Noise in the model of the mixture, relative to the power of its loudest bin. Bins below it are shared out equally.
_NOISE = 1.5e-10

# What is added to the weight of a source's covariance, on the same scale: a source below it has no direction.
_LEAST_WEIGHT = 2e-18

# Noise relative to the model of each bin, in units of the precision, where rounding would outweigh the other.
_ROUNDING = 4

# Real numbers of the estimates that are worked on together; what is computed of them takes some times that room.
_TOGETHER = BlockSize(cpu=1 << 19, accelerator=1 << 25)

# Powers of the sources in all iterations that are held together for the gradient, which need not stay in cache.
_HELD = BlockSize(cpu=1 << 21, accelerator=1 << 27)


def multichannel_wiener_filter(
    mixture: Complex[Tensor, "*any C F N"], estimates: Complex[Tensor, "*any S C F N"], num_iterations: int = 1
) -> Complex[Tensor, "*any S C F N"]:
    r"""Estimates of the sources that are consistent over the channels, from estimates that need not be.

    In each bin a source is taken as Gaussian noise of some power, its own in every frame, that reaches the channels
    in a way that does not change, its spatial covariance. Both are those of the estimates, and the estimates are then
    those of least mean squared error under that model, again and again.

    .. math::
        v_{jfn} = \tfrac{1}{C} \lVert y_{jfn} \rVert^2, \qquad
        R_{jf} = \frac{\sum_n y_{jfn} y_{jfn}^H}{\sum_n v_{jfn}}, \qquad
        y_{jfn} \leftarrow v_{jfn} R_{jf} \Bigl(\sum_k v_{kfn} R_{kf} + \epsilon I\Bigr)^{-1} x_{fn}

    What the noise :math:`\epsilon` takes of the mixture is given back to all sources equally at the end, so that they
    add up to it. Bins are independent, and worked on a few at a time with all iterations.

    Args:
        mixture: :math:`x`, complex, of any number of channels.
        estimates: :math:`y_j` to begin with, of which only powers and covariances count, not the common level.
        num_iterations: at least one.

    Gradient:
        Exact, into the mixture and the estimates. Nothing but these is kept for it, whatever the number of iterations.

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
    check_integer(num_iterations, "iterations", at_least=1)
    if not mixture.is_complex() or mixture.dtype != estimates.dtype:
        raise ValueError(f"estimates must be complex as the mixture is, got {estimates.dtype} for {mixture.dtype}")
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
    """Of the sources in some bins, from their values ``(B, F, S, 2C, N)``: real parts of all channels, imaginary ones.

    A complex matrix stands as the real one ``[[real, -imaginary], [imaginary, real]]``.
    """

    power: Tensor  # (B, F, S, N)
    weight: Tensor  # (B, F, S, 1, 1)
    covariance: Tensor  # (B, F, S, 2C, 2C)

    @classmethod
    def of(cls, sources: Tensor) -> "_Model":
        power = _inner(sources, sources).mul_(2 / sources.shape[-2])
        weight = power.sum(-1)[..., None, None] + _LEAST_WEIGHT
        return cls(power, weight, _as_complex(sources @ sources.mT) / weight)

    def backward(self, sources: Tensor, power: Tensor, covariance: Tensor) -> Tensor:
        """The gradient into the sources from those into power and covariance."""
        weight = -(covariance * self.covariance).sum((-2, -1), keepdim=True) / self.weight
        gradient = _as_complex(covariance + covariance.mT).div_(self.weight) @ sources
        power = (power + weight[..., 0]).mul_(4 / sources.shape[-2])
        return gradient.addcmul_(power[..., None, :], sources)


def _inner(first: Tensor, second: Tensor) -> Tensor:
    """The sum of products over the last axis but one, row by row, as torch's reductions over such take much longer."""
    row, *rows = zip(first.unbind(-2), second.unbind(-2), strict=True)
    total = row[0] * row[1]
    for one, other in rows:
        total.addcmul_(one, other)
    return total


def _as_complex(matrix: Tensor) -> Tensor:
    """The sum of a real matrix with itself between multiplications by the imaginary unit and back."""
    channels = matrix.shape[-1] // 2
    real, right = matrix[..., :channels, :].split(channels, -1)
    left, other = matrix[..., channels:, :].split(channels, -1)
    real, imaginary = real + other, left - right
    return torch.cat((torch.cat((real, -imaginary), -1), torch.cat((imaginary, real), -1)), -2)


class _Filter:
    """What a model makes of the mixture's values ``(B, F, 2C, N)``, and the way back."""

    def __init__(self, mixture: Tensor, model: _Model) -> None:
        self.model = model
        self.total = model.power.sum(-2).add_(_NOISE)
        self.share = model.power / self.total[..., None, :]
        self.noise = _NOISE / self.total
        self.inverse = _Inverse(model.covariance, self.share, self.noise)
        self.whitened = self.inverse.solve(mixture)
        stacked = model.covariance.flatten(-3, -2)
        self.directed = (stacked @ self.whitened).view(*self.share.shape[:-1], *self.whitened.shape[-2:])

    def sources(self) -> Tensor:
        """The values of the sources."""
        return self.share[..., None, :] * self.directed

    def backward(self, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients into the mixture, the power and the covariance from that into the sources."""
        share = _inner(self.directed, gradient)
        directed = self.share[..., None, :] * gradient
        whitened = self.model.covariance.flatten(-3, -2).mT @ directed.flatten(-3, -2)
        mixture = self.inverse.solve(whitened)
        share -= _inner(self.directed, mixture[..., None, :, :])
        noise = -_inner(mixture, self.whitened)
        directed = directed.addcmul_(self.share[..., None, :], mixture[..., None, :, :], value=-1.0)
        covariance = directed @ self.whitened[..., None, :, :].mT
        common = (share * self.share).sum(-2).addcmul_(noise, self.noise)
        return mixture, (share - common[..., None, :]) / self.total[..., None, :], covariance


class _Inverse:
    """Of the mixture's covariance in every bin and frame, whose trace is about the number of channels."""

    def __init__(self, covariance: Tensor, share: Tensor, noise: Tensor) -> None:
        self.channels = covariance.shape[-1] // 2
        noise = noise + _ROUNDING * torch.finfo(noise.dtype).eps
        rows = covariance[..., : self.channels].flatten(-2)
        if self.channels == 1:
            self.parts: tuple[Tensor, ...] = ((rows[..., :1].mT @ share)[..., 0, :].add_(noise).reciprocal_(),)
        elif self.channels == 2:
            needed = torch.stack([rows[..., entry] for entry in (0, 3, 2, 6)], -2)
            first, last, real, imaginary = (needed @ share).unbind(-2)
            first.add_(noise).reciprocal_()
            below = real.square().addcmul_(imaginary, imaginary).mul_(first)
            # What elimination leaves of the last entry is no less than the noise, but for rounding.
            last = torch.maximum(last.sub_(below).add_(noise), noise).reciprocal_()
            self.parts = first, last, real.mul_(first), imaginary.mul_(first)
        else:
            matrix = (rows.mT @ share).mT.unflatten(-1, (2, self.channels, self.channels))
            matrix.select(-3, 0).diagonal(dim1=-2, dim2=-1).add_(noise[..., None])
            factors, pivots, _ = torch.linalg.lu_factor_ex(torch.complex(*matrix.unbind(-3)))
            self.parts = factors, pivots

    def solve(self, values: Tensor) -> Tensor:
        """The inverse times values ``(B, F, 2C, N)``."""
        if self.channels == 1:
            return values * self.parts[0][..., None, :]
        if self.channels == 2:
            return self._solve_two(values)
        right = torch.complex(*values.mT.unflatten(-1, (2, self.channels)).unbind(-2))
        solved = torch.linalg.lu_solve(*self.parts, right[..., None])[..., 0]
        return torch.cat((solved.real, solved.imag), -1).mT.contiguous()

    def _solve_two(self, values: Tensor) -> Tensor:
        """By elimination, which is accurate in the directions that the sources come from, however few these are."""
        first, last, real, imaginary = self.parts
        solved = torch.empty_like(values)
        into = solved.unbind(-2)
        given = values.unbind(-2)
        torch.addcmul(given[1], real, given[0], value=-1.0, out=into[1]).addcmul_(imaginary, given[2]).mul_(last)
        torch.addcmul(given[3], real, given[2], value=-1.0, out=into[3])
        into[3].addcmul_(imaginary, given[0], value=-1.0).mul_(last)
        torch.mul(given[0], first, out=into[0])
        into[0].addcmul_(real, into[1], value=-1.0).addcmul_(imaginary, into[3], value=-1.0)
        torch.mul(given[2], first, out=into[2])
        into[2].addcmul_(real, into[3], value=-1.0).addcmul_(imaginary, into[1])
        return solved


def _blocks(estimates: Tensor, held: int) -> Iterator[tuple[slice, slice]]:
    """Some items and bins at a time; that many powers of every source are held of each bin and frame."""
    items, sources, channels, bins, frames = estimates.shape
    device = estimates.device
    room = _TOGETHER.on(device) // (sources * 2 * channels * frames)
    if held:
        room = min(room, _HELD.on(device) // (sources * held * frames))
    # All bins of few items are read in longer pieces than few bins of all items.
    width = max(1, min(bins, room))
    together = max(1, room // width)
    for item in range(0, items, together):
        for first in range(0, bins, width):
            yield slice(item, item + together), slice(first, first + width)


def _values(spectrogram: Tensor, block: tuple[slice, slice], scale: Tensor) -> Tensor:
    """Real and imaginary parts ``(B, F, S, 2C, N)`` of a block of ``(B, S, C, F, N)``, divided by the scale."""
    items, bins = block
    # Taken out of the spectrogram as it lies in memory, and only then turned.
    compact = spectrogram[items, :, :, bins].mT.contiguous()
    parts = torch.view_as_real(compact).permute(0, 4, 1, 5, 2, 3)
    values = torch.empty(parts.shape, dtype=parts.dtype, device=parts.device)
    return torch.div(parts, scale[items], out=values).flatten(3, 4)


def _put(values: Tensor, spectrogram: Tensor, block: tuple[slice, slice]) -> None:
    """Write what :func:`_values` reads."""
    items, bins = block
    into = torch.view_as_real(spectrogram[items, :, :, bins])
    for part, given in enumerate(values.unflatten(-2, (2, -1)).unbind(-3)):
        into[..., part] = given.permute(0, 2, 3, 1, 4)


def _scale(mixture: Tensor) -> Tensor:
    """The largest value of each item, ``(B, 1, 1, 1, 1, 1)``; one for silence."""
    parts, axes = torch.view_as_real(mixture), (1, 2, 3, 4)
    peak = torch.maximum(parts.amax(axes), -parts.amin(axes))
    return peak.masked_fill(peak < torch.finfo(peak.dtype).tiny, 1.0).view(-1, 1, 1, 1, 1, 1)


@operator(lambda mixture, estimates, num_iterations: room_like(estimates))  # noqa: ARG005
def _wiener_filter(mixture: Tensor, estimates: Tensor, num_iterations: int) -> Tensor:
    filtered, scale = room_like(estimates), _scale(mixture)
    for block in _blocks(estimates, held=0):
        whole = _values(mixture[:, None], block, scale)
        sources = _values(estimates, block, scale)
        for _ in range(num_iterations):
            sources = _Filter(whole[:, :, 0], _Model.of(sources)).sources()
        sources += (whole - sources.sum(2, keepdim=True)).div_(sources.shape[2])
        _put(sources.mul_(scale[block[0], ..., 0]), filtered, block)
    return filtered


@operator(lambda gradient, mixture, estimates, num_iterations: (room_like(mixture), room_like(estimates)))  # noqa: ARG005
def _wiener_filter_gradient(
    gradient: Tensor, mixture: Tensor, estimates: Tensor, num_iterations: int
) -> tuple[Tensor, Tensor]:
    into_mixture, into_estimates, scale = room_like(mixture), room_like(estimates), _scale(mixture)
    for block in _blocks(estimates, held=num_iterations):
        whole = _values(mixture[:, None], block, scale)[:, :, 0]
        given = _values(estimates, block, scale)
        models = [_Model.of(given)]
        for _ in range(num_iterations - 1):
            models.append(_Model.of(_Filter(whole, models[-1]).sources()))
        step = _Filter(whole, models.pop())
        into = _values(gradient, block, torch.ones_like(scale))
        shared = into.mean(2)
        into -= shared[:, :, None]
        while True:
            through, power, covariance = step.backward(into)
            shared += through
            if not models:
                break
            before = _Filter(whole, models.pop())
            into = step.model.backward(before.sources(), power, covariance)
            step = before
        _put(shared[:, :, None], into_mixture[:, None], block)
        _put(step.model.backward(given, power, covariance), into_estimates, block)
    return into_mixture, into_estimates


def _setup(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(*inputs[:2])
    ctx.num_iterations = inputs[2]


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
    mixture, estimates = ctx.saved_tensors
    return *_wiener_filter_gradient(gradient.resolve_conj(), mixture, estimates, ctx.num_iterations), None


register_gradient(_wiener_filter, _setup, _backward)
