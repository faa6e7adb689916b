"""Rotations of whitened signals that make them independent."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional.linalg import eigh, svd
from torchsep.functional.operators import operator

__all__ = ["CONTRASTS", "independent_rotation"]

# Samples of a signal that are worked on together.
_TOGETHER = {"cpu": 1 << 14}
_DEVICE_TOGETHER = 1 << 24

# Newton steps after the fixed-point iterations, whose tolerance is far above what a gradient needs.
_STEPS = 20
_LARGEST_ANGLE = 0.3

# What is left of an iteration's step each time that it does not come nearer to an end.
_DAMPING = 0.8


def _logcosh(signal: Tensor) -> tuple[Tensor, Tensor]:
    slope = signal.tanh()
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


def independent_rotation(
    signals: Float[Tensor, "B C T"],
    start: Float[Tensor, "B C C"],
    fun: str = "logcosh",
    algorithm: str = "parallel",
    max_iterations: int = 200,
    tol: float = 1e-4,
) -> Float[Tensor, "B C C"]:
    r"""The rotations that take white signals to independent ones: FastICA.

    The fixed-point iterations are followed by Newton steps to where the method's estimating equations hold to the last
    digits: :math:`\sigma_i E[g(s_i) s_j] = \sigma_j E[g(s_j) s_i]` for every pair of sources, with the signs
    :math:`\sigma` of their curvatures (parallel), or :math:`E[g(s_i) s_j] = 0` for each and all after it (deflation).

    Args:
        signals: of mean zero and with the identity as covariance; a signal that is zero stays one source.
        start: rotations to begin with, which do not mix zero signals with others.
        fun: measure of being far from Gaussian, one of ``logcosh``, ``exp`` and ``cube``.
        algorithm: all sources together, ``parallel``, or one after the other, ``deflation``.
        max_iterations: the most that are made; of each source if one after the other.
        tol: they stop when no source turns by more; one less the cosine of the angle is compared.

    Gradient:
        Exact where the equations hold, by the implicit function theorem. Nothing of the iterations is kept.

    Example:
        >>> time = torch.arange(1000.0)
        >>> sources = torch.stack((torch.sin(0.1 * time), torch.sign(torch.sin(0.037 * time))))
        >>> sources = (sources - sources.mean(-1, keepdim=True)) / sources.std(-1, keepdim=True)
        >>> turned = torch.tensor([[0.6, 0.8], [-0.8, 0.6]]) @ sources
        >>> rotation = independent_rotation(turned[None], torch.eye(2)[None])[0]
        >>> (rotation @ torch.tensor([[0.6, 0.8], [-0.8, 0.6]])).abs().round(decimals=1)
        tensor([[0., 1.],
                [1., 0.]])

    References:
        A. Hyvärinen, "Fast and robust fixed-point algorithms for independent component analysis", IEEE Transactions
        on Neural Networks, 1999.
    """
    rotation, weights, inverse = _fast_ica(signals.detach(), start, fun, algorithm, max_iterations, tol)
    if not (torch.is_grad_enabled() and signals.requires_grad):
        return rotation
    size = rotation.shape[-1]
    first, second = torch.triu_indices(size, size, offset=1, device=rotation.device)
    sources = rotation @ signals
    moments = CONTRASTS[fun](sources)[0] @ sources.mT / signals.shape[-1]
    lack = weights[:, 0] * moments[:, first, second] - weights[:, 1] * moments[:, second, first]
    angles = -(inverse @ (lack - lack.detach())[..., None])[..., 0]
    return rotation + _skew(angles, size) @ rotation


@operator(
    lambda signals, start, fun, algorithm, max_iterations, tol: (  # noqa: ARG005
        torch.empty_like(start, memory_format=torch.contiguous_format),
        start.new_empty(len(start), 2, _pairs(start)),
        start.new_empty(len(start), _pairs(start), _pairs(start)),
    )
)
def _fast_ica(
    signals: Tensor, start: Tensor, fun: str, algorithm: str, max_iterations: int, tol: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Rotations, the weights of the equations that hold for them, and the inverse of these equations' derivative."""
    rotation = _parallel(signals, _decorrelated(start), fun, max_iterations, tol)
    rotation, weights, inverse = _refined(signals, rotation, fun, "parallel")
    if algorithm == "deflation":  # the sources farthest from Gaussian first, which have the least to do with the others
        slope, bend = CONTRASTS[fun](rotation @ signals)
        distance = ((slope * (rotation @ signals)).mean(-1) - bend.mean(-1)).abs()
        rotation = rotation.take_along_dim(distance.argsort(descending=True, stable=True)[..., None], 1)
        rotation = _deflation(signals, rotation, fun, max_iterations, tol)
        rotation, weights, inverse = _refined(signals, rotation, fun, algorithm)
    return rotation.contiguous(), weights.contiguous(), inverse.contiguous()


def _refined(signals: Tensor, rotation: Tensor, fun: str, algorithm: str) -> tuple[Tensor, Tensor, Tensor]:
    """Rotations nearer to where the equations hold, with the equations' weights and the inverse of their derivative.

    The derivative of the parallel equations is the Hessian of what is to be largest. Where it is not negative, steps
    go uphill instead of to the nearest place where the equations hold, which may be a saddle.
    """
    weights, lack, derivative = _equations(signals, rotation, fun, algorithm)
    smallest = 4 * torch.finfo(signals.dtype).eps
    for _ in range(_STEPS):
        angles, uphill = _step(lack, derivative, algorithm)
        if not (uphill | (lack.abs().amax(-1) > smallest)).any():
            break
        angles = angles * (_LARGEST_ANGLE / angles.abs().amax(-1, keepdim=True).clamp(min=_LARGEST_ANGLE))
        turned = torch.matrix_exp(_skew(angles, rotation.shape[-1])) @ rotation
        found = _equations(signals, turned, fun, algorithm)
        better = uphill | (found[1].abs().amax(-1) < lack.abs().amax(-1))
        if not better.any():
            break
        better = better[:, None, None]
        rotation = torch.where(better, turned, rotation)
        weights, derivative = torch.where(better, found[0], weights), torch.where(better, found[2], derivative)
        lack = torch.where(better[..., 0], found[1], lack)
    return _decorrelated(rotation), weights, _inverse(derivative)


def _step(lack: Tensor, derivative: Tensor, algorithm: str) -> tuple[Tensor, Tensor]:
    """The angles of a Newton step, and for which items it goes uphill instead."""
    angles = -(_inverse(derivative) @ lack[..., None])[..., 0]
    if algorithm != "parallel":
        return angles, torch.zeros_like(lack[:, 0], dtype=torch.bool)
    values, vectors = eigh(0.5 * (derivative + derivative.mT))
    largest = values.abs().amax(-1, keepdim=True)
    uphill = values[:, -1] > 1e-3 * largest[:, 0]
    size = torch.maximum(values.abs(), 1e-3 * largest)
    ascent = (vectors @ (vectors.mT @ lack[..., None] / size.masked_fill(size == 0, 1.0)[..., None]))[..., 0]
    return torch.where(uphill[:, None], ascent, angles), uphill


def _inverse(derivative: Tensor) -> Tensor:
    """Its inverse, zero where the equations say nothing."""
    left, values, right = svd(derivative)
    small = ~(values > values.shape[-1] * torch.finfo(values.dtype).eps * values[:, :1])
    return (right * values.masked_fill(small, 1.0).reciprocal().masked_fill(small, 0.0)[:, None]) @ left.mT


def _pairs(matrix: Tensor) -> int:
    return matrix.shape[-1] * (matrix.shape[-1] - 1) // 2


def _blocks(signals: Tensor) -> tuple[Tensor, ...]:
    return signals.split(_TOGETHER.get(signals.device.type, _DEVICE_TOGETHER), -1)


def _skew(angles: Tensor, size: int) -> Tensor:
    """Skew-symmetric matrices of their elements above the diagonal."""
    first, second = torch.triu_indices(size, size, offset=1, device=angles.device)
    item = torch.arange(len(angles), device=angles.device)[:, None]
    upper = angles.new_zeros(len(angles), size, size).index_put((item, first, second), angles)
    return upper - upper.mT


def _decorrelated(rotation: Tensor) -> Tensor:
    """The nearest matrices with orthonormal rows."""
    left, _, right = svd(rotation)
    return left @ right.mT


def _updated(signals: Tensor, rows: Tensor, fun: str) -> Tensor:
    """One fixed-point step of some rows ``(B, R, C)``, neither orthogonal nor of length one."""
    moments, curvature = torch.zeros_like(rows), rows.new_zeros(rows.shape[:-1])
    for block in _blocks(signals):
        slope, bend = CONTRASTS[fun](rows @ block)
        moments += slope @ block.mT
        curvature += bend.sum(-1)
    return (moments - curvature[..., None] * rows) / signals.shape[-1]


def _parallel(signals: Tensor, rotation: Tensor, fun: str, max_iterations: int, tol: float) -> Tensor:
    return _iterated(
        lambda rows: _decorrelated(_updated(signals, rows, fun)), _decorrelated, rotation, max_iterations, tol
    )


def _deflation(signals: Tensor, rotation: Tensor, fun: str, max_iterations: int, tol: float) -> Tensor:
    found = rotation[:, :0]
    for number in range(rotation.shape[1]):

        def freed(row: Tensor, found: Tensor = found) -> Tensor:
            return _freed(row, found)

        def update(row: Tensor, found: Tensor = found) -> Tensor:
            return _freed(_updated(signals, row, fun), found)

        row = _iterated(update, freed, freed(rotation[:, number : number + 1]), max_iterations, tol)
        found = torch.cat((found, row), 1)
    return _decorrelated(found)


def _iterated(
    update: Callable[[Tensor], Tensor],
    normalize: Callable[[Tensor], Tensor],
    rows: Tensor,
    max_iterations: int,
    tol: float,
) -> Tensor:
    """The rows that an update leaves as they are, but for their signs.

    Where it turns them no less than it did before, as it does in circles where sources are nearly
    Gaussian, a smaller and smaller part of it is made: so that rounding does not decide where it ends.
    """
    active = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    part, previous = torch.ones_like(rows[:, 0, 0]), torch.full_like(rows[:, 0, 0], torch.inf)
    for _ in range(max_iterations):
        turned = update(rows)
        cosine = (turned * rows).sum(-1, keepdim=True)
        change = (1 - cosine.abs()).abs().amax((-2, -1))
        part = torch.where(change < previous, part, part * _DAMPING)
        previous = change
        step = part[:, None, None]
        damped = normalize(step * torch.where(cosine < 0, -turned, turned) + (1 - step) * rows)
        turned = torch.where(step < 1, damped, turned)
        rows = torch.where(active[:, None, None], turned, rows)
        active = active & (change >= tol)
        if not active.any():
            break
    return rows


def _freed(row: Tensor, found: Tensor) -> Tensor:
    """A row without its part along those found before, of length one."""
    for _ in range(2):  # once is not enough where little remains
        row = row - (row @ found.mT) @ found
        length = torch.linalg.vector_norm(row, dim=-1, keepdim=True)
        row = row / length.masked_fill(length == 0, 1.0)
    return row


def _equations(signals: Tensor, rotation: Tensor, fun: str, algorithm: str) -> tuple[Tensor, Tensor, Tensor]:
    """The weights of the estimating equations, what they lack, and their derivative by the angles."""
    size, length = rotation.shape[-1], signals.shape[-1]
    moments = torch.zeros_like(rotation)
    bends = rotation.new_zeros(*rotation.shape, size)  # E[g'(s_i) s_j s_m]
    curvature = rotation.new_zeros(rotation.shape[:-1])
    power = torch.zeros_like(curvature)
    for block in _blocks(signals):
        sources = rotation @ block
        slope, bend = CONTRASTS[fun](sources)
        moments += slope @ sources.mT / length
        bends += (bend[:, :, None] * sources[:, None]).flatten(1, 2).matmul(sources.mT).unflatten(
            1, (size, size)
        ) / length
        curvature += bend.sum(-1) / length
        power += sources.square().sum(-1) / length
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
    absent = (power[:, first] < 0.5) | (power[:, second] < 0.5)  # white signals have power one or none
    lack = lack.masked_fill(absent, 0.0)
    kept = ~(absent[..., None] | absent[:, None])
    derivative = torch.where(kept, derivative, -torch.eye(len(first), dtype=rotation.dtype, device=rotation.device))
    return weights.contiguous(), lack, derivative
