"""Estimating equations of ICA for a contrast function, and Newton steps that solve them."""

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
_BLOCK = BlockSize(cpu=1 << 19, accelerator=1 << 26)

# Number of consecutive samples in the runs of a subset.
_RUN = 64

# Newton steps after the fixed-point iterations, whose tolerance is far too large for the implicit gradient.
_STEPS = 20
_LARGEST_ANGLE = 0.3

# Upper bound of the error after a Newton step, relative to the square of the step.
_ERROR_OF_SQUARE = 10.0


def _logcosh(signal: Tensor) -> tuple[Tensor, Tensor]:
    tanh = 2 * (2 * signal).sigmoid() - 1  # several times as fast as tanh
    return tanh, 1 - tanh.square()


def _exp(signal: Tensor) -> tuple[Tensor, Tensor]:
    square = signal.square()
    gaussian = (-0.5 * square).exp()
    return signal * gaussian, (1 - square) * gaussian


def _cube(signal: Tensor) -> tuple[Tensor, Tensor]:
    square = signal.square()
    return signal * square, 3 * square


CONTRASTS: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {"logcosh": _logcosh, "exp": _exp, "cube": _cube}
"""The first and the second derivative of each contrast function."""


class WhiteSignals(NamedTuple):
    """Signals with their whitening matrix, which is applied on use."""

    signals: Tensor
    whitening: Tensor

    def blocks(self) -> tuple[Tensor, ...]:
        """The signals in blocks that fit the cache with all intermediate results."""
        size = _BLOCK.on(self.signals.device)
        return self.signals.split(max(1, size // self.signals.shape[-2] ** 2), -1)

    def sample(self, length: int) -> "WhiteSignals":
        """A subset of about ``length`` samples, in short evenly spaced runs."""
        runs = self.signals.unfold(-1, _RUN, self.signals.shape[-1] // length * _RUN)
        return WhiteSignals(runs.flatten(-2), self.whitening)


def refined_rotation(white: WhiteSignals, rotation: Tensor, fun: str, algorithm: str) -> tuple[Tensor, Tensor, Tensor]:
    """Rotations after Newton steps, with the weights of the equations and the inverse of their derivative.

    The derivative of the parallel equations is the Hessian of the contrast. Where it is not negative definite, steps
    ascend the contrast instead of moving to the nearest solution, which may be a saddle point.
    """
    weights, residual, derivative = _equations(white, rotation, fun, algorithm)
    smallest = 4 * torch.finfo(rotation.dtype).eps
    for _ in range(_STEPS):
        angles, ascending = _step(residual, derivative, algorithm)
        if not (ascending | (residual.abs().amax(-1) > smallest)).any():
            break
        size = angles.abs().amax(-1, keepdim=True)
        angles = angles * (_LARGEST_ANGLE / size.clamp(min=_LARGEST_ANGLE))
        updated = torch.matrix_exp(skew_symmetric(angles, rotation.shape[-1])) @ rotation
        if not (ascending | (_ERROR_OF_SQUARE * size[:, 0].square() > smallest)).any():
            rotation = updated  # the next step would be below rounding
            break
        found = _equations(white, updated, fun, algorithm)
        better = ascending | (found[1].abs().amax(-1) < residual.abs().amax(-1))
        if not better.any():
            break
        better = better[:, None, None]
        rotation = torch.where(better, updated, rotation)
        weights, derivative = torch.where(better, found[0], weights), torch.where(better, found[2], derivative)
        residual = torch.where(better[..., 0], found[1], residual)
    return decorrelated(rotation), weights, _inverse(derivative)


def _step(residual: Tensor, derivative: Tensor, algorithm: str) -> tuple[Tensor, Tensor]:
    """The angles of a Newton step, and whether it is an ascent step instead for each item."""
    if algorithm != "parallel":
        angles = -(_inverse(derivative) @ residual[..., None])[..., 0]
        return angles, torch.zeros_like(residual[:, 0], dtype=torch.bool)
    values, vectors = eigh(0.5 * (derivative + derivative.mT))
    largest = values.abs().amax(-1, keepdim=True)
    ascending = values[:, -1:] > 1e-3 * largest
    least = largest * (values.shape[-1] * torch.finfo(values.dtype).eps)
    least = torch.where(ascending, 1e-3 * largest, least)
    size = torch.maximum(values.abs(), least)
    ascent = vectors @ (vectors.mT @ residual[..., None] / size.masked_fill(size == 0, 1.0)[..., None])
    return ascent[..., 0], ascending[:, 0]


def _inverse(derivative: Tensor) -> Tensor:
    """The pseudoinverse."""
    left, values, right = svd(derivative)
    small = ~(values > values.shape[-1] * torch.finfo(values.dtype).eps * values[:, :1])
    return (right * values.masked_fill(small, 1.0).reciprocal().masked_fill(small, 0.0)[:, None]) @ left.mT


def number_of_pairs(matrix: Tensor) -> int:
    """The number of elements above the diagonal of a square matrix."""
    return matrix.shape[-1] * (matrix.shape[-1] - 1) // 2


def skew_symmetric(angles: Tensor, size: int) -> Tensor:
    """The skew-symmetric matrices of given elements above the diagonal."""
    first, second = torch.triu_indices(size, size, offset=1, device=angles.device)
    item = torch.arange(len(angles), device=angles.device)[:, None]
    upper = angles.new_zeros(len(angles), size, size).index_put((item, first, second), angles)
    return upper - upper.mT


def decorrelated(rotation: Tensor) -> Tensor:
    """The nearest matrices with orthonormal rows."""
    left, _, right = svd(rotation)
    return left @ right.mT


def _equations(white: WhiteSignals, rotation: Tensor, fun: str, algorithm: str) -> tuple[Tensor, Tensor, Tensor]:
    """The weights of the estimating equations, their residual, and its derivative with respect to the angles."""
    size, length = rotation.shape[-1], white.signals.shape[-1]
    unmixing = rotation @ white.whitening
    moments = torch.zeros_like(rotation)
    third_moments = rotation.new_zeros(*rotation.shape, size)  # E[g'(s_i) s_j s_m]
    curvature = rotation.new_zeros(rotation.shape[:-1])
    for block in white.blocks():
        sources = unmixing @ block
        slope, bend = CONTRASTS[fun](sources)
        moments += slope @ sources.mT / length
        products = (bend[:, :, None] * sources[:, None]).flatten(1, 2) @ sources.mT
        third_moments += products.unflatten(1, (size, size)) / length
        curvature += bend.sum(-1) / length
    first, second = torch.triu_indices(size, size, offset=1, device=rotation.device)
    if algorithm == "parallel":
        signs = (moments.diagonal(0, -2, -1) - curvature).sign()
        weights = torch.stack((signs[:, first], signs[:, second]), 1)
    else:
        weights = rotation.new_tensor([1.0, 0.0])[:, None].expand(len(rotation), 2, len(first))
    identity = torch.eye(size, dtype=rotation.dtype, device=rotation.device)
    # The derivative of E[g(s_i) s_j] with respect to the element k, l of a small rotation.
    change = torch.einsum("ik,bijl->bijkl", identity, third_moments) + torch.einsum("jk,bil->bijkl", identity, moments)
    change = (change - change.mT)[..., first, second]
    derivative = weights[:, 0, :, None] * change[:, first, second] - weights[:, 1, :, None] * change[:, second, first]
    residual = weights[:, 0] * moments[:, first, second] - weights[:, 1] * moments[:, second, first]
    present = (white.whitening != 0).any(-1, keepdim=True)
    zero = (rotation.square() @ present.to(rotation.dtype))[..., 0] < 0.5
    absent = zero[:, first] | zero[:, second]
    residual = residual.masked_fill(absent, 0.0)
    kept = ~(absent[..., None] | absent[:, None])
    derivative = torch.where(kept, derivative, -torch.eye(len(first), dtype=rotation.dtype, device=rotation.device))
    return weights.contiguous(), residual, derivative
