"""The multichannel Wiener filter, which refines the estimates of another separator."""

from torch import Tensor

from torchsep.checks import check_integer
from torchsep.functional.magnitude import magnitude
from torchsep.functional.masks import binary_masks, ratio_masks
from torchsep.functional.spatial.wiener import multichannel_wiener_filter
from torchsep.separators.bases.mask_type import WithMaskType
from torchsep.separators.bases.separator import Separator
from torchsep.transforms import STFT
from torchsep.typing import Estimates, Masks, Spectrogram, Waveform

__all__ = ["WienerFilter"]


class WienerFilter(WithMaskType, Separator):
    """Multichannel Wiener filter: refine estimates by the spatial covariance and power spectrogram of each source.

    The power of every bin and the spatial covariance of every frequency are computed from the estimate of each source,
    and the mixture is filtered by the posterior mean of the sources. The result is consistent across channels and sums
    to the mixture. It suits multichannel mixtures whose estimates come from a network or another separator without a
    spatial model; for mono it reduces to power ratio masks. See :func:`multichannel_wiener_filter`.

    Args:
        sample_rate: sample rate of the mixtures, in Hz.
        num_iterations: number of EM iterations, at least one.
        mask_type: ``soft`` for the filter itself, or ``binary``, which assigns each bin of a channel to the source of
            the largest filtered magnitude.
        stft: front end; :meth:`STFT.from_sample_rate` if None.

    Shape:
        ``(B, C, T)`` and ``estimates (B, S, C, T) -> (B, S, C, T)``, in the order given.

    Gradient:
        Exact with respect to the mixture and the estimates; memory does not grow with the iterations. ``binary`` masks
        use the straight-through estimator: the gradient of the ratio masks of the filtered magnitudes.

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
        check_integer(num_iterations, "num_iterations", at_least=1)
        if stft is not None and not isinstance(stft, STFT):
            raise ValueError(f"stft must be an STFT or None, got {stft!r}")
        self.num_iterations = num_iterations
        self.mask_type = mask_type
        self.stft = STFT.from_sample_rate(sample_rate) if stft is None else stft

    def filtered(self, spectrogram: Spectrogram, estimates: Estimates) -> Tensor:
        """The filtered spectrograms ``(B, S, C, F, N)`` of the sources."""
        return multichannel_wiener_filter(spectrogram, self.stft(estimates), self.num_iterations)

    def masks(self, spectrogram: Spectrogram, estimates: Estimates) -> Masks:
        """The ratio masks of the filtered magnitudes."""
        return ratio_masks(magnitude(self.filtered(spectrogram, estimates)))

    def separate(self, mixture: Waveform, **required: Tensor) -> Estimates:
        """Filter the mixture by the statistics of the estimates."""
        spectrogram, length = self.stft(mixture), mixture.shape[-1]
        if self.mask_type == "binary":
            masks = binary_masks(self.masks(spectrogram, required["estimates"]))
            return self.stft.inverse(spectrogram[:, None], length, masks)
        return self.stft.inverse(self.filtered(spectrogram, required["estimates"]), length)
