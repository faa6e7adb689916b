"""ICA: separation by independent component analysis, with one source per channel."""

from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_choice, check_integer, check_mixture, check_number
from torchsep.functional.ica._newton import CONTRASTS
from torchsep.functional.ica.unmixing import unmixing_and_mixing
from torchsep.separators.bases.separator import Separator
from torchsep.typing import Estimates, Waveform

__all__ = ["ICA"]


class ICA(Separator):
    """FastICA: separate a multichannel mixture into statistically independent sources, one per channel.

    It assumes instantaneous mixing, as by a mixing desk or an array of body sensors: each source reaches all channels
    without delay or reverberation. The estimates are mono and ordered by power. Each is scaled as in the channel where
    it is loudest.

    The unmixing matrix is estimated from the linear prediction residual. It is further from Gaussian than the signals
    and has the same mixing matrix, so the estimate is more accurate.

    Args:
        sample_rate: sample rate of the mixtures, in Hz.
        algorithm: ``parallel``, all sources jointly, or ``deflation``, one source after the other.
        fun: contrast function, a measure of non-Gaussianity: ``logcosh`` for general use, ``exp`` for super-Gaussian
            sources or robustness, ``cube`` (kurtosis) for sources without outliers.
        max_iter: maximum number of iterations, per source for ``deflation``.
        tol: iterations stop when one minus the cosine of the rotation of every source is below it.
        seed: seed of the initial rotation.
        prediction_order: order of the linear prediction; at zero the signals themselves are used, as in standard
            FastICA.

    Shape:
        ``(B, C, T) -> (B, C, 1, T)``, at least two channels.

    Raises:
        ValueError: on a call, if the mixture has a single channel.

    Gradient:
        Exact where the iterations have converged, by the implicit function theorem, with order and signs held fixed.

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
        max_iter: int = 200,
        tol: float = 1e-4,
        seed: int = 0,
        *,
        prediction_order: int = 2,
        sample_rate: int,
    ) -> None:
        super().__init__(sample_rate=sample_rate)
        check_choice(algorithm, ("parallel", "deflation"), "algorithm")
        check_choice(fun, tuple(CONTRASTS), "fun")
        check_integer(max_iter, "max_iter", at_least=1)
        check_number(tol, "tol", above=0.0)
        check_integer(seed, "seed", at_least=0)
        self.algorithm = algorithm
        self.fun = fun
        self.max_iter = max_iter
        self.tol = tol
        check_integer(prediction_order, "prediction_order", at_least=0)
        self.seed = seed
        self.prediction_order = prediction_order

    def unmixing(self, mixture: Waveform) -> Float[Tensor, "B C C"]:
        """The unmixing matrices, from channels to sources."""
        return self._matrices(mixture)[0]

    def mixing(self, mixture: Waveform) -> Float[Tensor, "B C C"]:
        """The mixing matrices, from sources to channels; the largest element of each column is one."""
        return self._matrices(mixture)[1]

    def separate(self, mixture: Waveform, **required: Tensor) -> Estimates:
        """Apply the unmixing matrices."""
        return (self.unmixing(mixture) @ mixture)[:, :, None]

    def _matrices(self, mixture: Waveform) -> tuple[Tensor, Tensor]:
        check_mixture(mixture)
        if mixture.shape[-2] < 2:
            raise ValueError("mixture must have at least 2 channels, one for each source, got 1")
        batch = mixture if mixture.dim() == 3 else mixture[None]
        matrices = unmixing_and_mixing(
            batch, self.fun, self.algorithm, self.max_iter, self.tol, self.seed, self.prediction_order
        )
        return matrices if mixture.dim() == 3 else (matrices[0][0], matrices[1][0])
