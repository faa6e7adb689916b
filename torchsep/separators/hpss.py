"""Harmonic-percussive separation by median filtering."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_integer
from torchsep.functional.filtering import median_filter
from torchsep.functional.masks import soft_mask, stack_masks
from torchsep.functional.parts import magnitude
from torchsep.separators.separator import Interval, MaskSeparator
from torchsep.transforms import STFT
from torchsep.typing import Masks, Spectrogram

__all__ = ["HPSS", "hpss_masks"]

Pair = tuple[float | Tensor, float | Tensor]


def hpss_masks(
    magnitude: Float[Tensor, "*any F N"],
    kernel_size: tuple[int, int] = (31, 31),
    power: float | Tensor = 2.0,
    margin: Pair | None = None,
) -> tuple[Float[Tensor, "*any F N"], ...]:
    r"""Masks of the tones, which are smooth along time, and of the onsets, which are smooth along frequency.

    .. math::
        H_{fn} = \operatorname{median}_{|k| \le h / 2} V_{f, n + k}, \qquad
        P_{fn} = \operatorname{median}_{|k| \le p / 2} V_{f + k, n}, \qquad
        M^H = \frac{H^q}{H^q + (m P)^q}

    Args:
        magnitude: non-negative spectrogram :math:`V`.
        kernel_size: lengths :math:`h` over frames and :math:`p` over bins.
        power: exponent :math:`q` of the masks.
        margin: how many times larger, for the harmonic and the percussive mask, a bin must be in one direction to
            belong to it rather than to the residual; None for no residual.

    Returns:
        The harmonic and the percussive mask, and with a margin that of the residual, which add up to one.

    Example:
        >>> click = torch.zeros(5, 5)
        >>> click[:, 2] = 1.0
        >>> harmonic, percussive = hpss_masks(click, kernel_size=(3, 3))
        >>> harmonic[:, 2].sum().item(), percussive[:, 2].sum().item()
        (0.0, 5.0)
    """
    harmonic = median_filter(magnitude, kernel_size[0], dim=-1)
    percussive = median_filter(magnitude, kernel_size[1], dim=-2)
    del magnitude  # of a long signal it is large, and no longer needed
    if margin is None:
        mask = soft_mask(harmonic, percussive, power)
        return mask, 1 - mask
    first = soft_mask(harmonic, percussive * margin[0], power, silent=0.0)
    second = soft_mask(percussive, harmonic * margin[1], power, silent=0.0)
    return first, second, (1 - first - second).clamp(min=0.0)


class HPSS(MaskSeparator):
    """Split a mixture into its tones and its onsets.

    Tones are ridges along time and onsets are ridges along frequency; each bin goes to the direction in which it is
    smoother. It suits drums against pitched instruments, and as a step before rhythm or chord analysis. Channels are
    treated on their own. The masks are those of :func:`hpss_masks`.

    Args:
        sample_rate: of the mixtures, in Hz.
        kernel_size: length of the two medians, in frames and in bins; or a pair of lengths, for tones and for onsets.
        power: exponent of the masks; two gives Wiener-like masks, large values nearly binary ones.
        margin: at least 1; or a pair, for tones and for onsets. Above 1, what is not clearly either becomes a third
            source, the residual.
        mask_type: ``soft`` or ``binary``.
        mask_threshold: of a binary percussive mask, from 0 to 1; without residual.
        stft: front end; that of :meth:`STFT.from_sample_rate` if None.
        trainable: names among ``power`` and ``margin`` (which must begin above 1).

    Shape:
        ``(B, C, T) -> (B, 2, C, T)``, or ``(B, 3, C, T)`` with a residual.

    Gradient:
        Exact: the median's goes to the element that it is.

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
    last_is_rest = True
    trainable_parameters: Mapping[str, Interval] = {"power": Interval(0.0), "margin": Interval(1.0, pairs=True)}

    power: float | Tensor
    margin: float | Sequence[float] | Tensor

    def __init__(
        self,
        kernel_size: int | Sequence[int] = 31,
        power: float = 2.0,
        margin: float | Sequence[float] = 1.0,
        *,
        sample_rate: int,
        mask_type: str = "soft",
        mask_threshold: float = 0.5,
        stft: STFT | None = None,
        trainable: Sequence[str] = (),
    ) -> None:
        super().__init__(
            sample_rate=sample_rate,
            mask_type=mask_type,
            mask_threshold=mask_threshold,
            stft=stft,
            trainable=trainable,
        )
        for length in pair(kernel_size, "kernel_size"):
            check_integer(length, "kernel_size", at_least=1)
        self.kernel_size = kernel_size
        self.power = power
        self.margin = margin
        self.has_residual = any(value > 1.0 for value in pair(margin, "margin"))
        if self.has_residual:
            self.names = (*self.names, "residual")

    def masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """Compare the spectrogram smoothed along time with it smoothed along frequency."""
        kernel_size = pair(self.kernel_size, "kernel_size")
        margin = pair(self.margin, "margin") if self.has_residual else None
        return stack_masks(hpss_masks(magnitude(spectrogram), kernel_size, self.power, margin))


def pair(value: Any, argument: str) -> tuple[Any, Any]:
    """One value for both directions, or a value for each."""
    if isinstance(value, Tensor):
        return (value, value) if value.dim() == 0 else (value[0], value[1])
    if not isinstance(value, Sequence):
        return value, value
    if len(value) != 2:
        raise ValueError(f"{argument} must be one value or a pair, got {value!r}")
    return value[0], value[1]
