"""Separation of an accompaniment of low rank from a sparse voice."""

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_integer, check_number
from torchsep.functional.low_rank import low_rank_and_sparse
from torchsep.functional.masks import soft_mask
from torchsep.functional.parts import magnitude
from torchsep.separators.background_separator import BackgroundSeparator
from torchsep.separators.separator import Interval
from torchsep.transforms import STFT
from torchsep.typing import Spectrogram

__all__ = ["RPCA", "low_rank_mask"]


def low_rank_mask(
    magnitude: Float[Tensor, "B C F N"], gain: float | Tensor = 1.0, num_iterations: int = 100, epsilon: float = 1e-7
) -> Float[Tensor, "B C F N"]:
    r"""The share of each bin that the part of low rank has, :math:`|L| / (|L| + g |S|)`.

    The frames of all channels are the columns of one matrix: what is repeated in any of them is of low rank in all.

    Args:
        magnitude: non-negative spectrogram. Its level plays no part.
        gain: :math:`g`, of the sparse part; above one the foreground takes more.
        num_iterations: the most iterations of the decomposition.
        epsilon: what the decomposition may lack, relative to the spectrogram.

    Example:
        >>> magnitude = torch.ones(1, 1, 16, 16)
        >>> magnitude[0, 0, 3, 5] = 20.0
        >>> low_rank_mask(magnitude)[0, 0, 2:5, 5].round(decimals=2)
        tensor([1.0000, 0.0500, 1.0000])
    """
    channels = magnitude.shape[1]
    columns = magnitude.movedim(1, -2).flatten(-2)
    low_rank, sparse = low_rank_and_sparse(columns, num_iterations, epsilon)
    mask = soft_mask(low_rank.abs(), gain * sparse.abs(), silent=1.0)
    return mask.unflatten(-1, (channels, -1)).movedim(-2, 1)


class RPCA(BackgroundSeparator):
    """Split a mixture into a background of low rank and a sparse foreground.

    The magnitude spectrogram is taken apart by robust principal component analysis: what is made of few spectra over
    and over, as an accompaniment is, is of low rank; what is in few bins and ever changing, as a voice, is sparse. It
    needs no period, and suits a voice over an accompaniment that varies. All channels are decomposed as one matrix.

    Args:
        sample_rate: of the mixtures, in Hz.
        high_pass_cutoff: in Hz; bins below the one nearest to it belong to the background.
        num_iterations: the most iterations of the decomposition; about 40 are needed.
        epsilon: what the two parts may lack, relative to the spectrogram, when the decomposition stops.
        gain: weight of the sparse part in the masks; above one the foreground takes more.
        mask_type: ``soft`` or ``binary``.
        mask_threshold: of a binary foreground mask, from 0 to 1.
        stft: front end; that of :meth:`STFT.from_sample_rate` if None.
        trainable: may name ``gain``.

    Shape:
        ``(B, C, T) -> (B, 2, C, T)``, background and foreground.

    Gradient:
        Exact for the number of iterations made, which is held. Memory does not grow with that number.

    Example:
        >>> tone = torch.sin(torch.arange(8000) * 0.5)[None]
        >>> click = torch.zeros(1, 8000)
        >>> click[:, 4000:4040] = 3.0
        >>> background, foreground = RPCA(sample_rate=8000)(tone + click)
        >>> 3900 < foreground.abs().argmax().item() < 4140
        True

    References:
        P.-S. Huang, S. D. Chen, P. Smaragdis and M. Hasegawa-Johnson, "Singing-voice separation from monaural
        recordings using robust principal component analysis", ICASSP, 2012.
    """

    trainable_parameters: Mapping[str, Interval] = {"gain": Interval(0.0)}

    def __init__(
        self,
        high_pass_cutoff: float = 100.0,
        num_iterations: int = 100,
        epsilon: float = 1e-7,
        gain: float = 1.0,
        *,
        sample_rate: int,
        mask_type: str = "soft",
        mask_threshold: float = 0.5,
        stft: STFT | None = None,
        trainable: Sequence[str] = (),
    ) -> None:
        super().__init__(
            sample_rate=sample_rate,
            high_pass_cutoff=high_pass_cutoff,
            mask_type=mask_type,
            mask_threshold=mask_threshold,
            stft=stft,
            trainable=trainable,
        )
        check_integer(num_iterations, "num_iterations", at_least=1)
        check_number(epsilon, "epsilon", at_least=0.0)
        self.num_iterations = num_iterations
        self.epsilon = epsilon
        self.gain = gain

    def background_mask(self, spectrogram: Spectrogram) -> Float[Tensor, "B C F N"]:
        """Compare the two parts of the magnitude spectrogram."""
        return low_rank_mask(magnitude(spectrogram), self.gain, self.num_iterations, self.epsilon)
