"""FT2D: separation of a repeating background by the peaks of the spectrogram's 2D Fourier transform."""

from collections.abc import Sequence
from typing import Unpack

from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_boolean, check_choice, check_integer
from torchsep.functional.magnitude import magnitude
from torchsep.functional.repetition.fourier_2d import ft2d_mask
from torchsep.separators.bases.background_separator import BackgroundOptions, BackgroundSeparator
from torchsep.typing import Spectrogram

__all__ = ["FT2D"]


class FT2D(BackgroundSeparator):
    """FT2D: separate a repeating background by the peaks of the spectrogram's 2D Fourier transform.

    A spectral pattern that repeats at a steady rate is a peak in the 2D Fourier transform of the magnitude spectrogram.
    The background is the inverse transform of the peaks, so no period has to be estimated. It suits a voice over a
    steady accompaniment, including one with several repetition rates. Channels are processed separately. The masks are
    those of :func:`ft2d_mask`.

    Args:
        neighborhood_size: size of the neighbourhood in which a peak is the maximum, along the spectral and the temporal
            axis of the transform. Larger neighbourhoods leave fewer peaks and thus less background.
        quadrants_to_keep: quadrants of the filtered transform: 0 is the first half of both axes, 1 the second half of
            the temporal axis, 2 the second half of the spectral axis, 3 the second half of both. 0 and 3 contain
            patterns that fall in frequency over time, 1 and 2 patterns that rise.
        filter_approach: ``local_std`` weights peaks by their prominence in the neighbourhood, ``original`` keeps the
            strong peaks with weight one.
        use_bg_2dft: whether the peaks model the background; otherwise all other values model the foreground, and the
            background mask is the complement.
        options: arguments of :class:`BackgroundSeparator`.

    Shape:
        ``(B, C, T) -> (B, 2, C, T)``, background and foreground.

    Gradient:
        Exact, also through the weights of the peaks, with the positions of the peaks held fixed.

    Example:
        >>> separator = FT2D(sample_rate=8000)
        >>> mixture = torch.randn(4, 2, 8000)
        >>> background, foreground = separator(mixture).unbind(1)
        >>> torch.allclose(background + foreground, mixture, atol=1e-5)
        True

    References:
        P. Seetharaman, F. Pishdadian and B. Pardo, "Music/voice separation using the 2D Fourier transform", WASPAA,
        2017.
    """

    def __init__(
        self,
        neighborhood_size: Sequence[int] = (1, 25),
        *,
        quadrants_to_keep: Sequence[int] = (0, 1, 2, 3),
        filter_approach: str = "local_std",
        use_bg_2dft: bool = True,
        **options: Unpack[BackgroundOptions],
    ) -> None:
        super().__init__(**options)
        if not isinstance(neighborhood_size, Sequence) or len(neighborhood_size) != 2:
            raise ValueError(f"neighborhood_size must be a pair of rows and columns, got {neighborhood_size!r}")
        for length in neighborhood_size:
            check_integer(length, "neighborhood_size", at_least=1)
        check_choice(filter_approach, ("local_std", "original"), "filter_approach")
        _check_quadrants(quadrants_to_keep)
        check_boolean(use_bg_2dft, "use_bg_2dft")
        self.neighborhood_size = neighborhood_size
        self.quadrants_to_keep = quadrants_to_keep
        self.filter_approach = filter_approach
        self.use_bg_2dft = use_bg_2dft

    def background_mask(self, spectrogram: Spectrogram) -> Float[Tensor, "B C F N"]:
        """The ratio of the background model, the inverse transform of the peaks, to the spectrogram."""
        return ft2d_mask(
            magnitude(spectrogram),
            self.neighborhood_size,
            self.quadrants_to_keep,
            self.filter_approach,
            self.use_bg_2dft,
        )


def _check_quadrants(quadrants: object) -> None:
    if not isinstance(quadrants, Sequence) or isinstance(quadrants, str) or not quadrants:
        raise ValueError(f"quadrants_to_keep must be a sequence of numbers from 0 to 3, got {quadrants!r}")
    for quadrant in quadrants:
        check_integer(quadrant, "quadrants_to_keep", at_least=0)
        if quadrant > 3:
            raise ValueError(f"quadrants_to_keep must be from 0 to 3, got {quadrant}")
