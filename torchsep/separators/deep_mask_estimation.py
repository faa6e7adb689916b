"""Separation by the masks of a network."""

from collections.abc import Sequence
from typing import Unpack

from torch import Tensor

from torchsep.networks import EmbeddingNetwork, MaskNetwork
from torchsep.separators.bases.mask_separator import MaskOptions, MaskSeparator
from torchsep.separators.bases.network_separator import (
    called,
    channels_of,
    check_bins,
    normalized_magnitude,
    per_channel,
    same_order,
)
from torchsep.separators.bases.source_names import are_numbered, check_names
from torchsep.typing import Features, Masks, Spectrogram

__all__ = ["DeepMaskEstimation"]


class DeepMaskEstimation(MaskSeparator):
    """Separate by masks that a network has learned to give: voices of one another, or an instrument of the rest.

    The network sees magnitudes at one level, whatever that of the mixture. One that hears one channel at a time is run
    on each; the sources of unnamed networks, which come in any order, are then put into the order of the first channel.

    Args:
        network: gives the masks.
        names: of the sources; numbered if None, which says that their order means nothing.
        options: arguments of :class:`MaskSeparator`.

    Shape:
        ``(B, C, T) -> (B, S, C, T)``.

    Raises:
        ValueError: if the network gives no masks, or not for the bins of the front end.

    Gradient:
        Exact into the mixture and the weights, the order of the channels' sources being held.

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
            raise ValueError(f"network must give masks, got {network!r}")
        check_bins(network.num_bins, self.stft)
        self.network = network
        self.names = check_names(names, network.num_sources)
        self.channels = channels_of(network)
        self.conservative = network.normalised or self.mask_type == "binary"
        self.last_is_residual = network.normalised and self.mask_type == "soft" and network.num_sources > 1
        self._ordered = not are_numbered(self.names)

    def masks(self, spectrogram: Spectrogram, **required: Tensor) -> Masks:
        """The masks that the network gives."""
        magnitude = normalized_magnitude(spectrogram)
        masks = per_channel(self.network, "masks", magnitude)
        if self._ordered or self.network.channels != 1 or magnitude.shape[1] == 1:
            return masks
        return same_order(masks, masks * magnitude[:, None])

    def masks_and_features(self, spectrogram: Spectrogram) -> tuple[Masks, Features]:
        """The masks and the embedding of a network that has both, for its channels: to train one by the other.

        Raises:
            ValueError: if the network has no embedding, or hears fewer channels at a time than there are.
        """
        if not isinstance(self.network, EmbeddingNetwork) or not hasattr(self.network, "both"):
            raise ValueError(f"network must give masks and an embedding, got {type(self.network).__name__}")
        magnitude = normalized_magnitude(spectrogram)
        if magnitude.shape[1] != self.network.channels:
            wanted, got = self.network.channels, magnitude.shape[1]
            raise ValueError(f"mixture must have the channels of the network, {wanted}, got {got}")
        masks, features = called(self.network, "both", magnitude)
        return masks.to(magnitude.dtype), features.to(magnitude.dtype)
