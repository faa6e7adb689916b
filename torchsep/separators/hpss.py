"""Harmonic-percussive separation by median filtering."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from torch import Tensor

from torchsep.checks import check_integer
from torchsep.functional.filters.harmonic_percussive import hpss_masks
from torchsep.functional.magnitude import magnitude
from torchsep.functional.masks import stack_masks
from torchsep.separators.bases.mask_separator import MaskOptions, MaskSeparator
from torchsep.separators.bases.trainable import Interval
from torchsep.typing import Masks, Spectrogram

__all__ = ["HPSS"]


class HPSS(MaskSeparator):
    """Harmonic-percussive separation by median filtering.

    Harmonic sounds are horizontal ridges of the spectrogram and percussive sounds vertical ones; median filters along
    time and along frequency enhance each. It suits separating drums from pitched instruments, and preprocessing for
    rhythm or chord analysis. Channels are processed separately. The masks are those of :func:`hpss_masks`.

    Args:
        kernel_size: length of both median filters, in frames and in bins, or a pair of lengths (harmonic, percussive).
        power: exponent of the masks; two gives Wiener-like masks, large values nearly binary ones.
        margin: separation margin of at least 1, or a pair (harmonic, percussive). Above 1, bins that are not clearly
            harmonic or percussive form a third source, the residual.
        options: arguments of :class:`MaskSeparator`.

    Shape:
        ``(B, C, T) -> (B, 2, C, T)``, or ``(B, 3, C, T)`` with a residual.

    Gradient:
        Exact; the gradient of a median goes to the selected element.

    Example:
        >>> separator = HPSS(sample_rate=8000)
        >>> mixture = torch.randn(4, 2, 800)
        >>> harmonic, percussive = separator(mixture).unbind(1)
        >>> torch.allclose(harmonic + percussive, mixture, atol=1e-5)
        True

    References:
        D. FitzGerald, "Harmonic/percussive separation using median filtering", DAFx 2010.
        J. Driedger, M. Müller and S. Disch, "Extending harmonic-percussive separation of audio signals", ISMIR 2014.
    """

    names: tuple[str, ...] = ("harmonic", "percussive")
    last_is_residual = True
    trainable_parameters: Mapping[str, Interval] = {"power": Interval(0.0), "margin": Interval(1.0, pairs=True)}

    power: float | Tensor
    margin: float | Sequence[float] | Tensor

    def __init__(
        self,
        kernel_size: int | Sequence[int] = 31,
        power: float = 2.0,
        margin: float | Sequence[float] = 1.0,
        **options: Unpack[MaskOptions],
    ) -> None:
        super().__init__(**options)
        for length in pair(kernel_size, "kernel_size"):
            check_integer(length, "kernel_size", at_least=1)
        self.kernel_size = kernel_size
        self.power = power
        self.margin = margin
        self.has_residual = any(value > 1.0 for value in pair(margin, "margin"))
        if self.has_residual:
            self.names = (*self.names, "residual")

    def masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """The masks by comparison of the spectrograms filtered along time and along frequency."""
        kernel_size = pair(self.kernel_size, "kernel_size")
        margin = pair(self.margin, "margin") if self.has_residual else None
        return stack_masks(hpss_masks(magnitude(spectrogram), kernel_size, self.power, margin))


def pair(value: Any, argument: str) -> tuple[Any, Any]:
    """A value for each direction, from one value or a pair."""
    if isinstance(value, Tensor):
        return (value, value) if value.dim() == 0 else (value[0], value[1])
    if not isinstance(value, Sequence):
        return value, value
    if len(value) != 2:
        raise ValueError(f"{argument} must be one value or a pair, got {value!r}")
    return value[0], value[1]
