"""Rotations of white signals that make them independent."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional._custom_ops import operator
from torchsep.functional.ica._newton import (
    CONTRASTS,
    WhiteSignals,
    decorrelated,
    number_of_pairs,
    refined_rotation,
    skew_symmetric,
)

__all__ = ["independent_rotation"]

# Samples that the first iterations use of much longer signals.
_SAMPLE = 1 << 15

# What is left of an iteration's step each time that it does not come nearer to an end.
_DAMPING = 0.8


def independent_rotation(
    signals: Float[Tensor, "B C T"],
    whitening: Float[Tensor, "B C C"],
    start: Float[Tensor, "B C C"],
    fun: str = "logcosh",
    algorithm: str = "parallel",
    max_iter: int = 200,
    tol: float = 1e-4,
) -> Float[Tensor, "B C C"]:
    r"""The rotations that take white signals to independent ones: FastICA.

    The fixed-point iterations, of which the first use a part of the samples if there are many, are followed by Newton
    steps to where the method's estimating equations hold to the last digits: :math:`\sigma_i E[g(s_i) s_j] = \sigma_j
    E[g(s_j) s_i]` for every pair of sources, with the signs :math:`\sigma` of their curvatures (parallel), or
    :math:`E[g(s_i) s_j] = 0` for each and all after it (deflation).

    Args:
        signals: of mean zero.
        whitening: what makes them white, of the identity as covariance; a row of zeros makes a source that is zero.
        start: rotations to begin with, which do not mix zero signals with others.
        fun: measure of being far from Gaussian, one of ``logcosh``, ``exp`` and ``cube``.
        algorithm: all sources together, ``parallel``, or one after the other, ``deflation``.
        max_iter: the most that are made with a part of the samples, and again with all of them; of each source
            if one after the other.
        tol: they stop when no source turns by more; one less the cosine of the angle is compared.

    Gradient:
        Exact where the equations hold, by the implicit function theorem. Nothing of the iterations is kept.

    Example:
        >>> time = torch.arange(1000.0)
        >>> sources = torch.stack((torch.sin(0.1 * time), torch.sign(torch.sin(0.037 * time))))
        >>> sources = (sources - sources.mean(-1, keepdim=True)) / sources.std(-1, keepdim=True)
        >>> turned = torch.tensor([[0.6, 0.8], [-0.8, 0.6]]) @ sources
        >>> rotation = independent_rotation(turned[None], torch.eye(2)[None], torch.eye(2)[None])[0]
        >>> (rotation @ torch.tensor([[0.6, 0.8], [-0.8, 0.6]])).abs().round(decimals=1)
        tensor([[0., 1.],
                [1., 0.]])

    References:
        A. Hyvärinen, "Fast and robust fixed-point algorithms for independent component analysis", IEEE Transactions
        on Neural Networks, 1999.
    """
    rotation, weights, inverse = _fast_ica(signals.detach(), whitening.detach(), start, fun, algorithm, max_iter, tol)
    if not (torch.is_grad_enabled() and (signals.requires_grad or whitening.requires_grad)):
        return rotation
    size = rotation.shape[-1]
    first, second = torch.triu_indices(size, size, offset=1, device=rotation.device)
    sources = (rotation @ whitening) @ signals
    moments = CONTRASTS[fun](sources)[0] @ sources.mT / signals.shape[-1]
    lack = weights[:, 0] * moments[:, first, second] - weights[:, 1] * moments[:, second, first]
    angles = -(inverse @ (lack - lack.detach())[..., None])[..., 0]
    return rotation + skew_symmetric(angles, size) @ rotation


@operator(
    lambda signals, whitening, start, fun, algorithm, max_iter, tol: (  # noqa: ARG005
        torch.empty_like(start, memory_format=torch.contiguous_format),
        start.new_empty(len(start), 2, number_of_pairs(start)),
        start.new_empty(len(start), number_of_pairs(start), number_of_pairs(start)),
    )
)
def _fast_ica(
    signals: Tensor, whitening: Tensor, start: Tensor, fun: str, algorithm: str, max_iter: int, tol: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Rotations, the weights of the equations that hold for them, and the inverse of these equations' derivative."""
    white = WhiteSignals(signals, whitening)
    rotation = decorrelated(start)
    for part in (white.sample(_SAMPLE), white) if signals.shape[-1] >= 4 * _SAMPLE else (white,):
        rotation = _parallel(part, rotation, fun, max_iter, tol)
    rotation, weights, inverse = refined_rotation(white, rotation, fun, "parallel")
    if algorithm == "deflation":  # the sources farthest from Gaussian first, which have the least to do with the others
        distance = (_updated(white, rotation, fun) * rotation).sum(-1).abs()
        rotation = rotation.take_along_dim(distance.argsort(descending=True, stable=True)[..., None], 1)
        rotation = _deflation(white, rotation, fun, max_iter, tol)
        rotation, weights, inverse = refined_rotation(white, rotation, fun, algorithm)
    return rotation.contiguous(), weights.contiguous(), inverse.contiguous()


def _updated(white: WhiteSignals, rows: Tensor, fun: str) -> Tensor:
    """One fixed-point step of some rows ``(B, R, C)``, neither orthogonal nor of length one."""
    moments, curvature = torch.zeros_like(rows), rows.new_zeros(rows.shape[:-1])
    unmixing = rows @ white.whitening
    for block in white.blocks():
        slope, bend = CONTRASTS[fun](unmixing @ block)
        moments += slope @ block.mT
        curvature += bend.sum(-1)
    return (moments @ white.whitening.mT - curvature[..., None] * rows) / white.signals.shape[-1]


def _parallel(white: WhiteSignals, rotation: Tensor, fun: str, max_iter: int, tol: float) -> Tensor:
    return _iterated(lambda rows: decorrelated(_updated(white, rows, fun)), decorrelated, rotation, max_iter, tol)


def _deflation(white: WhiteSignals, rotation: Tensor, fun: str, max_iter: int, tol: float) -> Tensor:
    found = rotation[:, :0]
    for number in range(rotation.shape[1]):

        def freed(row: Tensor, found: Tensor = found) -> Tensor:
            return _freed(row, found)

        def update(row: Tensor, found: Tensor = found) -> Tensor:
            return _freed(_updated(white, row, fun), found)

        row = _iterated(update, freed, freed(rotation[:, number : number + 1]), max_iter, tol)
        found = torch.cat((found, row), 1)
    return decorrelated(found)


def _iterated(
    update: Callable[[Tensor], Tensor],
    normalize: Callable[[Tensor], Tensor],
    rows: Tensor,
    max_iter: int,
    tol: float,
) -> Tensor:
    """The rows that an update leaves as they are, but for their signs.

    Where it turns them no less than it did before, as it does in circles where sources are nearly
    Gaussian, a smaller and smaller part of it is made: so that rounding does not decide where it ends.
    """
    active = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    part, previous = torch.ones_like(rows[:, 0, 0]), torch.full_like(rows[:, 0, 0], torch.inf)
    for _ in range(max_iter):
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
