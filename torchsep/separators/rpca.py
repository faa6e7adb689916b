"""Robust PCA: separation of a low-rank background from a sparse foreground."""

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
    """Robust PCA: separate a low-rank background from a sparse foreground.

    The magnitude spectrogram is decomposed by robust principal component analysis. An accompaniment of few recurring
    spectra is low-rank; a voice, with few active and changing bins, is sparse. No period is required, so it suits a
    voice over a varying accompaniment. All channels are decomposed as one matrix.

    Args:
        max_iter: maximum number of iterations of the decomposition; about 40 are needed.
        tol: residual, relative to the norm of the spectrogram, at which the decomposition stops.
        gain: weight of the sparse part in the masks; values above one assign more to the foreground.
        options: arguments of :class:`BackgroundSeparator`.

    Shape:
        ``(B, C, T) -> (B, 2, C, T)``, background and foreground.

    Gradient:
        Exact, with the number of iterations held fixed. Memory does not grow with that number.

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
        """The soft mask of the low-rank part of the magnitude spectrogram."""
        return low_rank_mask(magnitude(spectrogram), self.gain, self.max_iter, self.tol)
