"""Separation by time-frequency masks estimated by a network."""

from collections.abc import Sequence
from typing import Unpack

from torch import Tensor

from torchsep.networks import EmbeddingNetwork, MaskNetwork
from torchsep.separators.bases.mask_separator import MaskOptions, MaskSeparator
from torchsep.separators.bases.network_separator import (
    align_channels,
    apply_per_channel,
    call_in_own_precision,
    channels_of,
    check_bins,
    normalized_magnitude,
)
from torchsep.separators.bases.source_names import are_numbered, check_names
from torchsep.typing import Features, Masks, Spectrogram

__all__ = ["DeepMaskEstimation"]


class DeepMaskEstimation(MaskSeparator):
    """Mask inference: separate by masks estimated by a network, for speakers or for instruments.

    The magnitude spectrogram is normalised to unit RMS before the network. A mono network is applied to each channel;
    if the source order has no meaning, the sources of all channels are then aligned with those of the first channel.

    Args:
        network: network that estimates the masks.
        names: source names; numbered if None, for sources in no fixed order.
        options: arguments of :class:`MaskSeparator`.

    Shape:
        ``(B, C, T) -> (B, S, C, T)``.

    Raises:
        ValueError: if the network is no :class:`MaskNetwork`, or its number of bins is not that of ``stft``.

    Gradient:
        Exact with respect to the mixture and the weights, with the alignment of the channels held fixed.

    Example:
        >>> from torchsep.networks import MaskInference, RecurrentBody
        >>> network = MaskInference(RecurrentBody(num_features=129, hidden_size=8, num_layers=1))
        >>> DeepMaskEstimation(network, sample_rate=8000)(torch.ones(1, 4000)).shape
        torch.Size([2, 1, 4000])

    References:
        D. Wang and J. Chen, "Supervised speech separation based on deep learning: an overview", IEEE/ACM TASLP, 2018.
    """

    autocast = True
    bytes_per_sample = 400.0

    def __init__(
        self,
        network: MaskNetwork,
        names: Sequence[str] | None = None,
        **options: Unpack[MaskOptions],
    ) -> None:
        super().__init__(**options)
        if not isinstance(network, MaskNetwork):
            raise ValueError(f"network must be a MaskNetwork, got {network!r}")
        check_bins(network.num_bins, self.stft)
        self.network = network
        self.names = check_names(names, network.num_sources)
        self.channels = channels_of(network)
        self.conservative = network.normalised or self.mask_type == "binary"
        self.last_is_residual = network.normalised and self.mask_type == "soft" and network.num_sources > 1
        self._ordered = not are_numbered(self.names)

    def masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """The masks estimated by the network."""
        magnitude = normalized_magnitude(spectrogram)
        masks = apply_per_channel(self.network, "masks", magnitude)
        if self._ordered or self.network.channels != 1 or magnitude.shape[1] == 1:
            return masks
        return align_channels(masks, masks * magnitude[:, None])

    def masks_and_features(self, spectrogram: Spectrogram) -> tuple[Masks, Features]:
        """The masks and the embedding of a network with both outputs, for multi-task training.

        Raises:
            ValueError: if the network has no embedding, or another number of channels than the mixture.
        """
        if not isinstance(self.network, EmbeddingNetwork) or not hasattr(self.network, "both"):
            raise ValueError(f"network must give masks and an embedding, got {type(self.network).__name__}")
        magnitude = normalized_magnitude(spectrogram)
        if magnitude.shape[1] != self.network.channels:
            wanted, got = self.network.channels, magnitude.shape[1]
            raise ValueError(f"mixture must have the channels of the network, {wanted}, got {got}")
        masks, features = call_in_own_precision(self.network, "both", magnitude)
        return masks.to(magnitude.dtype), features.to(magnitude.dtype)
