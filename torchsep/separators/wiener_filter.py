"""The multichannel Wiener filter, which refines estimates that something else has made."""

from torch import Tensor

from torchsep.checks import check_choice, check_integer
from torchsep.functional.magnitude import magnitude
from torchsep.functional.masks import binary_masks, ratio_masks
from torchsep.functional.spatial.wiener import multichannel_wiener_filter
from torchsep.separators.bases.separator import Separator
from torchsep.transforms import STFT
from torchsep.typing import Estimates, Masks, Spectrogram, Waveform

__all__ = ["WienerFilter"]


class WienerFilter(Separator):
    """Refine estimates so that they are consistent over the channels and add up to the mixture.

    Each source is given a power in every bin and a direction at every frequency, those of its estimate, and the
    mixture is filtered for the sources that are most likely then, with phases and across channels. It suits stereo and
    more channels, where a network or another separator has found what belongs to whom but not from where; of one
    channel it shares each bin by the powers of the estimates. See :func:`multichannel_wiener_filter`.

    Args:
        sample_rate: of the mixtures, in Hz.
        num_iterations: how often powers and directions are taken from the estimates anew, at least one.
        mask_type: ``soft`` for the filter itself, or ``binary``, where each bin of a channel is given to the source
            of the largest filtered magnitude.
        stft: front end; that of :meth:`STFT.from_sample_rate` if None.

    Shape:
        ``(B, C, T)`` and ``estimates (B, S, C, T) -> (B, S, C, T)``, in the order given.

    Gradient:
        Exact, into the mixture and the estimates, in memory that does not grow with the iterations. Of ``binary``
        masks that of the sources' shares in the filtered magnitudes, straight through.

    Example:
        >>> sources = torch.randn(1, 3, 2, 4000)
        >>> mixture, estimates = sources.sum(1), sources.roll(1, -1)
        >>> refined = WienerFilter(sample_rate=8000)(mixture, estimates=estimates)
        >>> torch.allclose(refined.sum(1), mixture, atol=1e-5)
        True

    References:
        N. Q. K. Duong, E. Vincent and R. Gribonval, "Under-determined reverberant audio source separation using a
        full-rank spatial covariance model", IEEE TASLP, 2010; A. A. Nugraha, A. Liutkus and E. Vincent, "Multichannel
        audio source separation with deep neural networks", IEEE/ACM TASLP, 2016.
    """

    requires = ("estimates",)

    def __init__(
        self, num_iterations: int = 1, *, sample_rate: int, mask_type: str = "soft", stft: STFT | None = None
    ) -> None:
        super().__init__(sample_rate=sample_rate)
        check_integer(num_iterations, "iterations", at_least=1)
        check_choice(mask_type, ("soft", "binary"), "mask_type")
        if stft is not None and not isinstance(stft, STFT):
            raise ValueError(f"stft must be an STFT or None, got {stft!r}")
        self.num_iterations = num_iterations
        self.mask_type = mask_type
        self.stft = STFT.from_sample_rate(sample_rate) if stft is None else stft

    def filtered(self, spectrogram: Spectrogram, estimates: Estimates) -> Tensor:
        """The spectrograms ``(B, S, C, F, N)`` that the filter makes of the mixture's and of estimates."""
        return multichannel_wiener_filter(spectrogram, self.stft(estimates), self.num_iterations)

    def masks(self, spectrogram: Spectrogram, estimates: Estimates) -> Masks:
        """The share of each source in the filtered magnitudes; the largest owns a bin of a binary mask."""
        return ratio_masks(magnitude(self.filtered(spectrogram, estimates)))

    def separate(self, mixture: Waveform, **required: Tensor) -> Estimates:
        """Filter the mixture for the sources that the estimates describe."""
        spectrogram, length = self.stft(mixture), mixture.shape[-1]
        if self.mask_type == "binary":
            masks = binary_masks(self.masks(spectrogram, required["estimates"]))
            return self.stft.inverse(spectrogram[:, None], length, masks)
        return self.stft.inverse(self.filtered(spectrogram, required["estimates"]), length)
