"""Unmixing and mixing matrices by independent component analysis."""

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional._levels import INAUDIBLE
from torchsep.functional.hashing import hashed_uniform
from torchsep.functional.ica.fastica import independent_rotation
from torchsep.functional.ica.linear_prediction import linear_prediction_residual
from torchsep.functional.linalg.matrix_functions import eigh, inverse_square_root

__all__ = ["unmixing_and_mixing"]

# Samples per partial sum of products, for accurate summation.
_BLOCK = 1 << 16


def unmixing_and_mixing(
    mixture: Float[Tensor, "B C T"],
    fun: str = "logcosh",
    algorithm: str = "parallel",
    max_iter: int = 200,
    tol: float = 1e-4,
    seed: int = 0,
    prediction_order: int = 2,
) -> tuple[Float[Tensor, "B C C"], Float[Tensor, "B C C"]]:
    """The unmixing matrices, from channels to independent sources, and the mixing matrices.

    The sources are scaled so that the largest element of each column of the mixing matrix is one, and ordered by the
    power of their images in all channels, the largest first. Linearly dependent channels, and those
    271 dB below the loudest one, give sources that are zero.

    Args:
        mixture: signals of at least two channels.
        fun: contrast function: ``logcosh``, ``exp`` or ``cube``.
        algorithm: ``parallel`` or ``deflation``.
        max_iter: maximum number of iterations.
        tol: tolerance of the rotation, see :func:`independent_rotation`.
        seed: seed of the initial rotation.
        prediction_order: order of the linear prediction, on whose residual the matrices are estimated; zero for none.

    Example:
        >>> time = torch.arange(2000.0)
        >>> sources = torch.stack((torch.sin(0.1 * time), torch.sign(torch.sin(0.037 * time))))
        >>> unmixing, mixing = unmixing_and_mixing((torch.tensor([[1.0, 0.5], [0.2, 1.0]]) @ sources)[None])
        >>> mixing[0].round(decimals=1)
        tensor([[0.5000, 1.0000],
                [1.0000, 0.2000]])
    """
    detached = mixture.detach()
    lowest, highest = detached.amin(-1, keepdim=True), detached.amax(-1, keepdim=True)
    bad = ~(lowest.isfinite() & highest.isfinite()).all(-2, keepdim=True)
    mean = mixture.mean(-1, keepdim=True)
    # Each channel is normalised by its own level, treated as constant, so that quiet and loud ones weigh the same.
    peak = torch.maximum(highest - mean.detach(), mean.detach() - lowest)
    largest = torch.maximum(highest.abs(), lowest.abs())
    silent = peak <= torch.maximum(
        8 * torch.finfo(mixture.dtype).eps * largest, INAUDIBLE * largest.amax(1, keepdim=True)
    )
    gain = peak.reciprocal().masked_fill(silent, 0.0)
    centred = torch.addcmul(-mean * gain, mixture, gain)
    signals = centred
    if prediction_order:
        signals = linear_prediction_residual(centred, prediction_order)
        signals = signals - signals.mean(-1, keepdim=True)
    products = _mean_products(signals)
    level = products.detach().diagonal(0, -2, -1)[..., None].sqrt()
    level = level.masked_fill(silent | (level == 0), 1.0)
    covariance = products / (level * level.mT)
    whitening, alive = _whitening(covariance)
    start = hashed_uniform(covariance.shape[-2:], seed, mixture.device, mixture.dtype) - 0.5
    both = alive[:, :, None] & alive[:, None, :]
    identity = torch.eye(covariance.shape[-1], dtype=mixture.dtype, device=mixture.device)
    start = torch.where(both, start, identity)
    rotation = independent_rotation(signals, whitening / level.mT, start, fun, algorithm, max_iter, tol)
    unmixing = rotation @ whitening
    mixing = covariance @ unmixing.mT
    scaled = unmixing.detach() / level.mT
    power = (scaled @ _mean_products(centred.detach()) * scaled).sum(-1)
    level = level * peak.masked_fill(silent, 1.0)
    unmixing = unmixing / level.mT
    order = (mixing.detach() * (level / level.amax(-2, keepdim=True))).square().sum(-2) * power
    order = order.argsort(dim=-1, descending=True, stable=True)
    unmixing = unmixing.take_along_dim(order[:, :, None], 1)
    mixing = (mixing * level).take_along_dim(order[:, None, :], 2)
    loudest = mixing.detach().abs().argmax(-2, keepdim=True)
    scale = mixing.take_along_dim(loudest, -2)
    unmixing = scale.mT * unmixing
    absent = scale == 0
    mixing = (mixing / scale.masked_fill(absent, 1.0)).masked_fill(absent, 0.0)
    return unmixing.masked_fill(bad, torch.nan), mixing.masked_fill(bad, torch.nan)


def _mean_products(signals: Float[Tensor, "B C T"]) -> Float[Tensor, "B C C"]:
    parts = (block @ block.mT for block in signals.split(_BLOCK, -1))
    return torch.stack(list(parts)).sum(0) / signals.shape[-1]


def _whitening(covariance: Float[Tensor, "B C C"]) -> tuple[Float[Tensor, "B C C"], Tensor]:
    """The whitening matrices of channels, and whether each of the white signals is non-zero."""
    inverse = inverse_square_root(covariance)
    values, vectors = eigh(covariance)
    alive = values > 10 * covariance.shape[-1] * torch.finfo(covariance.dtype).eps * values[:, -1:]
    # For dependent channels the basis is that of the eigenvectors, in which zero signals are separate rows. Otherwise
    # it is that of the channels, which is unique for repeated eigenvalues too.
    eigenbasis = (vectors * alive[:, None]).mT
    full_rank = alive.all(-1)[:, None, None]
    return torch.where(full_rank, inverse, eigenbasis @ inverse), alive
