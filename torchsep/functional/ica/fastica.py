"""FastICA: rotations that make white signals independent."""

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

# Number of samples in the first iterations on much longer signals.
_SAMPLE = 1 << 15

# Factor on the step size when the iterations do not converge further.
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
    r"""FastICA: the rotations from white signals to independent sources.

    Fixed-point iterations, first on a subset of the samples of long signals, are followed by Newton steps that solve
    the estimating equations to machine precision: :math:`\sigma_i E[g(s_i) s_j] = \sigma_j E[g(s_j) s_i]` for every
    pair of sources, with the signs :math:`\sigma` of their curvatures (parallel), or :math:`E[g(s_i) s_j] = 0` for each
    source and all later ones (deflation).

    Args:
        signals: zero-mean signals.
        whitening: whitening matrices of the signals; a row of zeros gives a source that is zero.
        start: initial rotations, which do not mix zero signals with others.
        fun: contrast function: ``logcosh``, ``exp`` or ``cube``.
        algorithm: ``parallel``, all sources jointly, or ``deflation``, one source after the other.
        max_iter: maximum number of iterations on the subset, and again on all samples; per source for ``deflation``.
        tol: iterations stop when one minus the cosine of the rotation of every source is below it.

    Gradient:
        Exact where the equations hold, by the implicit function theorem. No intermediate iterate is saved.

    Example:
        >>> time = torch.arange(1000.0)
        >>> sources = torch.stack((torch.sin(0.1 * time), torch.sign(torch.sin(0.037 * time))))
        >>> sources = (sources - sources.mean(-1, keepdim=True)) / sources.std(-1, keepdim=True)
        >>> rotated = torch.tensor([[0.6, 0.8], [-0.8, 0.6]]) @ sources
        >>> rotation = independent_rotation(rotated[None], torch.eye(2)[None], torch.eye(2)[None])[0]
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
    residual = weights[:, 0] * moments[:, first, second] - weights[:, 1] * moments[:, second, first]
    angles = -(inverse @ (residual - residual.detach())[..., None])[..., 0]
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
    """Rotations, the weights of their estimating equations, and the inverse of the derivative of these equations."""
    white = WhiteSignals(signals, whitening)
    rotation = decorrelated(start)
    for part in (white.sample(_SAMPLE), white) if signals.shape[-1] >= 4 * _SAMPLE else (white,):
        rotation = _parallel(part, rotation, fun, max_iter, tol)
    rotation, weights, inverse = refined_rotation(white, rotation, fun, "parallel")
    if algorithm == "deflation":  # the least Gaussian sources first, since they depend least on the others
        distance = (_updated(white, rotation, fun) * rotation).sum(-1).abs()
        rotation = rotation.take_along_dim(distance.argsort(descending=True, stable=True)[..., None], 1)
        rotation = _deflation(white, rotation, fun, max_iter, tol)
        rotation, weights, inverse = refined_rotation(white, rotation, fun, algorithm)
    return rotation.contiguous(), weights.contiguous(), inverse.contiguous()


def _updated(white: WhiteSignals, rows: Tensor, fun: str) -> Tensor:
    """One fixed-point step of some rows ``(B, R, C)``, not orthonormalised."""
    moments, curvature = torch.zeros_like(rows), rows.new_zeros(rows.shape[:-1])
    unmixing = rows @ white.whitening
    for block in white.blocks():
        first, second = CONTRASTS[fun](unmixing @ block)
        moments += first @ block.mT
        curvature += second.sum(-1)
    return (moments @ white.whitening.mT - curvature[..., None] * rows) / white.signals.shape[-1]


def _parallel(white: WhiteSignals, rotation: Tensor, fun: str, max_iter: int, tol: float) -> Tensor:
    return _iterated(lambda rows: decorrelated(_updated(white, rows, fun)), decorrelated, rotation, max_iter, tol)


def _deflation(white: WhiteSignals, rotation: Tensor, fun: str, max_iter: int, tol: float) -> Tensor:
    found = rotation[:, :0]
    for number in range(rotation.shape[1]):

        def normalize(row: Tensor, found: Tensor = found) -> Tensor:
            return _orthogonalised(row, found)

        def update(row: Tensor, found: Tensor = found) -> Tensor:
            return _orthogonalised(_updated(white, row, fun), found)

        row = _iterated(update, normalize, normalize(rotation[:, number : number + 1]), max_iter, tol)
        found = torch.cat((found, row), 1)
    return decorrelated(found)


def _iterated(
    update: Callable[[Tensor], Tensor],
    normalize: Callable[[Tensor], Tensor],
    rows: Tensor,
    max_iter: int,
    tol: float,
) -> Tensor:
    """The fixed point of an update of rows, up to sign.

    The step size is reduced whenever the change does not decrease, as in the cycles of nearly Gaussian sources, so
    that the result does not depend on rounding.
    """
    active = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    step_size, previous = torch.ones_like(rows[:, 0, 0]), torch.full_like(rows[:, 0, 0], torch.inf)
    for _ in range(max_iter):
        updated = update(rows)
        cosine = (updated * rows).sum(-1, keepdim=True)
        change = (1 - cosine.abs()).abs().amax((-2, -1))
        step_size = torch.where(change < previous, step_size, step_size * _DAMPING)
        previous = change
        step = step_size[:, None, None]
        damped = normalize(step * torch.where(cosine < 0, -updated, updated) + (1 - step) * rows)
        updated = torch.where(step < 1, damped, updated)
        rows = torch.where(active[:, None, None], updated, rows)
        active = active & (change >= tol)
        if not active.any():
            break
    return rows


def _orthogonalised(row: Tensor, found: Tensor) -> Tensor:
    """A row orthogonalised against those found before, of unit length."""
    for _ in range(2):  # Gram-Schmidt is repeated, since one pass is inaccurate for small residuals
        row = row - (row @ found.mT) @ found
        length = torch.linalg.vector_norm(row, dim=-1, keepdim=True)
        row = row / length.masked_fill(length == 0, 1.0)
    return row
