"""Separation of as many sources as there are channels, by their independence."""

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_choice, check_integer, check_mixture, check_number
from torchsep.functional.independence import independent_rotation
from torchsep.functional.independence_equations import CONTRASTS
from torchsep.functional.linalg import eigh, inverse_square_root
from torchsep.functional.prediction import innovations
from torchsep.functional.starts import hashed_uniform
from torchsep.separators.separator import Separator
from torchsep.typing import Estimates, Waveform

__all__ = ["ICA", "unmixing_and_mixing"]

# Samples whose products are added up before those of others, so that little is lost to rounding.
_TOGETHER = 1 << 16


def unmixing_and_mixing(
    mixture: Float[Tensor, "B C T"],
    fun: str = "logcosh",
    algorithm: str = "parallel",
    max_iterations: int = 200,
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
        max_iterations: the most that are made.
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
        signals = innovations(centred, prediction_order)
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
    rotation = independent_rotation(signals, whitening / level.mT, start, fun, algorithm, max_iterations, tol)
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


class ICA(Separator):
    """Split a mixture of several channels into as many sources that are statistically independent.

    It suits sources that reach all channels at once, each with its own gain, as from a mixing desk or an array of
    sensors on a body. It knows nothing of delays or rooms. There are as many sources as channels, each of one channel,
    the loudest first; a source is as loud as in the channel where it is loudest.

    Sources are told apart by what the samples before do not foretell: that is farther from Gaussian than the signals
    themselves, and so tells more of the gains, which are the same for both.

    Args:
        sample_rate: of the mixtures, in Hz.
        algorithm: all sources together, ``parallel``, or one after the other, ``deflation``.
        fun: measure of being far from Gaussian: ``logcosh`` for general use, ``exp`` for sources with many large
            values or where robustness counts, ``cube``, the kurtosis, for sources without outliers.
        max_iterations: the most that are made, of each source if one after the other.
        tol: iterations stop when no source turns by more; one less the cosine of the angle is compared.
        seed: of the rotation to begin with.
        prediction_order: number of the samples before that foretell one; at zero the signals themselves are compared,
            which is FastICA as others have it.

    Shape:
        ``(B, C, T) -> (B, C, 1, T)``, at least two channels.

    Raises:
        ValueError: on a call, if the mixture has a single channel.

    Gradient:
        Exact where the iterations have converged, by the implicit function theorem; order and signs are held.

    Example:
        >>> time = torch.arange(2000.0)
        >>> sources = torch.stack((torch.sin(0.1 * time), torch.sign(torch.sin(0.037 * time))))
        >>> mixture = torch.tensor([[1.0, 0.5], [0.2, 1.0]]) @ sources
        >>> estimates = ICA(sample_rate=8000)(mixture)
        >>> estimates.shape, (estimates[1, 0] - sources[0]).abs().max().item() < 0.1
        (torch.Size([2, 1, 2000]), True)

    References:
        A. Hyvärinen, "Fast and robust fixed-point algorithms for independent component analysis", IEEE Transactions
        on Neural Networks, 1999; A. Hyvärinen, "Independent component analysis for time-dependent stochastic
        processes", ICANN 1998 (innovations).
    """

    conservative = False

    def __init__(
        self,
        algorithm: str = "parallel",
        fun: str = "logcosh",
        max_iterations: int = 200,
        tol: float = 1e-4,
        seed: int = 0,
        *,
        prediction_order: int = 2,
        sample_rate: int,
    ) -> None:
        super().__init__(sample_rate=sample_rate)
        check_choice(algorithm, ("parallel", "deflation"), "algorithm")
        check_choice(fun, tuple(CONTRASTS), "fun")
        check_integer(max_iterations, "max_iterations", at_least=1)
        check_number(tol, "tol", above=0.0)
        check_integer(seed, "seed", at_least=0)
        self.algorithm = algorithm
        self.fun = fun
        self.max_iterations = max_iterations
        self.tol = tol
        check_integer(prediction_order, "prediction_order", at_least=0)
        self.seed = seed
        self.prediction_order = prediction_order

    def unmixing(self, mixture: Waveform) -> Float[Tensor, "B C C"]:
        """The matrices that make the sources of the channels."""
        return self._matrices(mixture)[0]

    def mixing(self, mixture: Waveform) -> Float[Tensor, "B C C"]:
        """The matrices that make the channels of the sources; the largest element of each column is one."""
        return self._matrices(mixture)[1]

    def separate(self, mixture: Waveform, **required: Tensor) -> Estimates:
        """Apply the unmixing matrices."""
        return (self.unmixing(mixture) @ mixture)[:, :, None]

    def _matrices(self, mixture: Waveform) -> tuple[Tensor, Tensor]:
        check_mixture(mixture)
        if mixture.shape[-2] < 2:
            raise ValueError("mixture must have at least 2 channels, as there are as many sources as channels, got 1")
        batch = mixture if mixture.dim() == 3 else mixture[None]
        matrices = unmixing_and_mixing(
            batch, self.fun, self.algorithm, self.max_iterations, self.tol, self.seed, self.prediction_order
        )
        return matrices if mixture.dim() == 3 else (matrices[0][0], matrices[1][0])
