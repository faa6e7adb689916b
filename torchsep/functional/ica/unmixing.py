"""Unmixing and mixing matrices by independent component analysis."""

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.functional.hashing import hashed_uniform
from torchsep.functional.ica.fastica import independent_rotation
from torchsep.functional.ica.linear_prediction import linear_prediction_residual
from torchsep.functional.linalg.matrix_functions import eigh, inverse_square_root

__all__ = ["unmixing_and_mixing"]

# Samples whose products are added up before those of others, so that little is lost to rounding.
_TOGETHER = 1 << 16


def unmixing_and_mixing(
    mixture: Float[Tensor, "B C T"],
    fun: str = "logcosh",
    algorithm: str = "parallel",
    max_iter: int = 200,
    tol: float = 1e-4,
    seed: int = 0,
    prediction_order: int = 2,
) -> tuple[Float[Tensor, "B C C"], Float[Tensor, "B C C"]]:
    """The matrices from channels to independent sources, and from sources to channels.

    A source is as loud as its image in the channel where that is loudest, so that the largest element of each column
    of the mixing matrix is one. The sources come by the power of their images in all channels, the largest first.
    Channels that depend on the others linearly make sources that are zero.

    Args:
        mixture: of at least two channels.
        fun: measure of being far from Gaussian, one of ``logcosh``, ``exp`` and ``cube``.
        algorithm: ``parallel`` or ``deflation``.
        max_iter: the most that are made.
        tol: by which no source may turn any more.
        seed: of the rotation to begin with.
        prediction_order: samples before each that foretell it; what they leave of it is what sources are told by.

    Example:
        >>> time = torch.arange(2000.0)
        >>> sources = torch.stack((torch.sin(0.1 * time), torch.sign(torch.sin(0.037 * time))))
        >>> unmixing, mixing = unmixing_and_mixing((torch.tensor([[1.0, 0.5], [0.2, 1.0]]) @ sources)[None])
        >>> mixing[0].round(decimals=1)
        tensor([[0.5000, 1.0000],
                [1.0000, 0.2000]])
    """
    held = mixture.detach()
    lowest, highest = held.amin(-1, keepdim=True), held.amax(-1, keepdim=True)
    bad = ~(lowest.isfinite() & highest.isfinite()).all(-2, keepdim=True)
    mean = mixture.mean(-1, keepdim=True)
    # Each channel is divided by its own level, held, so that a quiet one is no less than a loud one.
    peak = torch.maximum(highest - mean.detach(), mean.detach() - lowest)
    silent = peak <= 8 * torch.finfo(mixture.dtype).eps * torch.maximum(highest.abs(), lowest.abs())
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
    heard = unmixing.detach() / level.mT
    power = (heard @ _mean_products(centred.detach()) * heard).sum(-1)
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
    parts = (block @ block.mT for block in signals.split(_TOGETHER, -1))
    return torch.stack(list(parts)).sum(0) / signals.shape[-1]


def _whitening(covariance: Float[Tensor, "B C C"]) -> tuple[Float[Tensor, "B C C"], Tensor]:
    """What makes channels white, and which of the white signals are not zero."""
    inverse = inverse_square_root(covariance)
    values, vectors = eigh(covariance)
    alive = values > 10 * covariance.shape[-1] * torch.finfo(covariance.dtype).eps * values[:, -1:]
    # Of dependent channels the zero signals are set apart; else the basis is that of the channels, which no
    # eigenvalues that meet can turn.
    apart = (vectors * alive[:, None]).mT
    whole = alive.all(-1)[:, None, None]
    return torch.where(whole, inverse, apart @ inverse), alive
