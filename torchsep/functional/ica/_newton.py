"""The equations that hold where white signals are as independent as a contrast can tell, and Newton steps to there."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from torchsep.functional._chunks import BlockSize
from torchsep.functional.linalg.matrix_functions import eigh, svd

__all__ = [
    "CONTRASTS",
    "WhiteSignals",
    "decorrelated",
    "number_of_pairs",
    "refined_rotation",
    "skew_symmetric",
]

# Elements of the largest temporary tensor of an item.
_TOGETHER = BlockSize(cpu=1 << 19, accelerator=1 << 26)

# Samples that follow one another in a sample.
_RUN = 64

# Newton steps after the fixed-point iterations, whose tolerance is far above what a gradient needs.
_STEPS = 20
_LARGEST_ANGLE = 0.3

# By how much the error after a Newton step may exceed the square of the step: far more than it does.
_ERROR_OF_SQUARE = 10.0


def _logcosh(signal: Tensor) -> tuple[Tensor, Tensor]:
    slope = 2 * (2 * signal).sigmoid() - 1  # the hyperbolic tangent, several times as fast
    return slope, 1 - slope.square()


def _exp(signal: Tensor) -> tuple[Tensor, Tensor]:
    square = signal.square()
    bell = (-0.5 * square).exp()
    return signal * bell, (1 - square) * bell


def _cube(signal: Tensor) -> tuple[Tensor, Tensor]:
    square = signal.square()
    return signal * square, 3 * square


CONTRASTS: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {"logcosh": _logcosh, "exp": _exp, "cube": _cube}
"""The first and the second derivative of each measure of how far from Gaussian a signal is."""


class WhiteSignals(NamedTuple):
    """Signals that are white once they are multiplied by a matrix, which is left to those that use them."""

    signals: Tensor
    whitening: Tensor

    def blocks(self) -> tuple[Tensor, ...]:
        """The signals in parts that fit into a cache with all that is made of them."""
        together = _TOGETHER.on(self.signals.device)
        return self.signals.split(max(1, together // self.signals.shape[-2] ** 2), -1)

    def sample(self, length: int) -> "WhiteSignals":
        """About so many samples, in short runs that are spread evenly."""
        runs = self.signals.unfold(-1, _RUN, self.signals.shape[-1] // length * _RUN)
        return WhiteSignals(runs.flatten(-2), self.whitening)


def refined_rotation(white: WhiteSignals, rotation: Tensor, fun: str, algorithm: str) -> tuple[Tensor, Tensor, Tensor]:
    """Rotations nearer to where the equations hold, with the equations' weights and the inverse of their derivative.

    The derivative of the parallel equations is the Hessian of what is to be largest. Where it is not negative, steps
    go uphill instead of to the nearest place where the equations hold, which may be a saddle.
    """
    weights, lack, derivative = _equations(white, rotation, fun, algorithm)
    smallest = 4 * torch.finfo(rotation.dtype).eps
    for _ in range(_STEPS):
        angles, uphill = _step(lack, derivative, algorithm)
        if not (uphill | (lack.abs().amax(-1) > smallest)).any():
            break
        size = angles.abs().amax(-1, keepdim=True)
        angles = angles * (_LARGEST_ANGLE / size.clamp(min=_LARGEST_ANGLE))
        turned = torch.matrix_exp(skew_symmetric(angles, rotation.shape[-1])) @ rotation
        if not (uphill | (_ERROR_OF_SQUARE * size[:, 0].square() > smallest)).any():
            rotation = turned  # where the next step would be rounding
            break
        found = _equations(white, turned, fun, algorithm)
        better = uphill | (found[1].abs().amax(-1) < lack.abs().amax(-1))
        if not better.any():
            break
        better = better[:, None, None]
        rotation = torch.where(better, turned, rotation)
        weights, derivative = torch.where(better, found[0], weights), torch.where(better, found[2], derivative)
        lack = torch.where(better[..., 0], found[1], lack)
    return decorrelated(rotation), weights, _inverse(derivative)


def _step(lack: Tensor, derivative: Tensor, algorithm: str) -> tuple[Tensor, Tensor]:
    """The angles of a Newton step, and for which items it goes uphill instead."""
    if algorithm != "parallel":
        return -(_inverse(derivative) @ lack[..., None])[..., 0], torch.zeros_like(lack[:, 0], dtype=torch.bool)
    values, vectors = eigh(0.5 * (derivative + derivative.mT))
    largest = values.abs().amax(-1, keepdim=True)
    uphill = values[:, -1:] > 1e-3 * largest
    least = torch.where(uphill, 1e-3, values.shape[-1] * torch.finfo(values.dtype).eps) * largest
    size = torch.maximum(values.abs(), least)
    ascent = vectors @ (vectors.mT @ lack[..., None] / size.masked_fill(size == 0, 1.0)[..., None])
    return ascent[..., 0], uphill[:, 0]


def _inverse(derivative: Tensor) -> Tensor:
    """Its inverse, zero where the equations say nothing."""
    left, values, right = svd(derivative)
    small = ~(values > values.shape[-1] * torch.finfo(values.dtype).eps * values[:, :1])
    return (right * values.masked_fill(small, 1.0).reciprocal().masked_fill(small, 0.0)[:, None]) @ left.mT


def number_of_pairs(matrix: Tensor) -> int:
    """How many elements a square matrix has above the diagonal."""
    return matrix.shape[-1] * (matrix.shape[-1] - 1) // 2


def skew_symmetric(angles: Tensor, size: int) -> Tensor:
    """Skew-symmetric matrices of their elements above the diagonal."""
    first, second = torch.triu_indices(size, size, offset=1, device=angles.device)
    item = torch.arange(len(angles), device=angles.device)[:, None]
    upper = angles.new_zeros(len(angles), size, size).index_put((item, first, second), angles)
    return upper - upper.mT


def decorrelated(rotation: Tensor) -> Tensor:
    """The nearest matrices with orthonormal rows."""
    left, _, right = svd(rotation)
    return left @ right.mT


def _equations(white: WhiteSignals, rotation: Tensor, fun: str, algorithm: str) -> tuple[Tensor, Tensor, Tensor]:
    """The weights of the estimating equations, what they lack, and their derivative by the angles."""
    size, length = rotation.shape[-1], white.signals.shape[-1]
    unmixing = rotation @ white.whitening
    moments = torch.zeros_like(rotation)
    bends = rotation.new_zeros(*rotation.shape, size)  # E[g'(s_i) s_j s_m]
    curvature = rotation.new_zeros(rotation.shape[:-1])
    for block in white.blocks():
        sources = unmixing @ block
        slope, bend = CONTRASTS[fun](sources)
        moments += slope @ sources.mT / length
        bends += ((bend[:, :, None] * sources[:, None]).flatten(1, 2) @ sources.mT).unflatten(1, (size, size)) / length
        curvature += bend.sum(-1) / length
    first, second = torch.triu_indices(size, size, offset=1, device=rotation.device)
    if algorithm == "parallel":
        signs = (moments.diagonal(0, -2, -1) - curvature).sign()
        weights = torch.stack((signs[:, first], signs[:, second]), 1)
    else:
        weights = rotation.new_tensor([1.0, 0.0])[:, None].expand(len(rotation), 2, len(first))
    identity = torch.eye(size, dtype=rotation.dtype, device=rotation.device)
    # How E[g(s_i) s_j] changes with the element k, l of a small turn.
    change = torch.einsum("ik,bijl->bijkl", identity, bends) + torch.einsum("jk,bil->bijkl", identity, moments)
    change = (change - change.mT)[..., first, second]
    derivative = weights[:, 0, :, None] * change[:, first, second] - weights[:, 1, :, None] * change[:, second, first]
    lack = weights[:, 0] * moments[:, first, second] - weights[:, 1] * moments[:, second, first]
    present = (white.whitening != 0).any(-1, keepdim=True)
    zero = (rotation.square() @ present.to(rotation.dtype))[..., 0] < 0.5
    absent = zero[:, first] | zero[:, second]
    lack = lack.masked_fill(absent, 0.0)
    kept = ~(absent[..., None] | absent[:, None])
    derivative = torch.where(kept, derivative, -torch.eye(len(first), dtype=rotation.dtype, device=rotation.device))
    return weights.contiguous(), lack, derivative
