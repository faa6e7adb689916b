"""Separation of an accompaniment of low rank from a sparse voice."""

from collections.abc import Mapping
from typing import Unpack

from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_integer, check_number
from torchsep.functional.linalg.low_rank_mask import low_rank_mask
from torchsep.functional.magnitude import magnitude
from torchsep.separators.bases.background_separator import BackgroundOptions, BackgroundSeparator
from torchsep.separators.bases.trainable import Interval
from torchsep.typing import Spectrogram

__all__ = ["RPCA"]


class RPCA(BackgroundSeparator):
    """Split a mixture into a background of low rank and a sparse foreground.

    The magnitude spectrogram is taken apart by robust principal component analysis: what is made of few spectra over
    and over, as an accompaniment is, is of low rank; what is in few bins and ever changing, as a voice, is sparse. It
    needs no period, and suits a voice over an accompaniment that varies. All channels are decomposed as one matrix.

    Args:
        max_iter: the most iterations of the decomposition; about 40 are needed.
        tol: what the two parts may lack, relative to the spectrogram, when the decomposition stops.
        gain: weight of the sparse part in the masks; above one the foreground takes more.
        options: arguments of :class:`BackgroundSeparator`.

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
        max_iter: int = 100,
        tol: float = 1e-7,
        gain: float = 1.0,
        **options: Unpack[BackgroundOptions],
    ) -> None:
        super().__init__(**options)
        check_integer(max_iter, "max_iter", at_least=1)
        check_number(tol, "tol", at_least=0.0)
        self.max_iter = max_iter
        self.tol = tol
        self.gain = gain

    def background_mask(self, spectrogram: Spectrogram) -> Float[Tensor, "B C F N"]:
        """Compare the two parts of the magnitude spectrogram."""
        return low_rank_mask(magnitude(spectrogram), self.gain, self.max_iter, self.tol)
