"""Separation by time-frequency masks estimated by a network."""

from collections.abc import Sequence
from typing import Unpack

from jaxtyping import Float
from torch import Tensor

from torchsep.functional.clustering.kmeans import kmeans, soft_assignment
from torchsep.networks import EmbeddingNetwork, MaskNetwork
from torchsep.separators.bases.loud_bins import clustering_confidence
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
from torchsep.typing import Features, Masks, Spectrogram, Waveform

__all__ = ["DeepMaskEstimation"]

_BETA = 5.0  # inverse temperature of the posteriors of k-means, the default of clustering separators


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

    def confidence(
        self, mixture: Waveform, approach: str = "silhouette", threshold: float = 95.0
    ) -> Float[Tensor, " B"]:
        """The confidence in each mixture's separation, if the network has an embedding too.

        The embeddings of the loudest bins are clustered by k-means, as in :class:`DeepClustering`, with a cluster per
        source, and at least two.

        Args:
            mixture: ``(B, C, T)`` or ``(C, T)``.
            approach: as for :meth:`ClusteringSeparator.confidence`.
            threshold: percentile of power at or above which bins are used.

        Raises:
            ValueError: if the network has no embedding, or an argument cannot be used.
        """
        network = self._embedding_network()
        n_clusters = max(2, self.network.num_sources)

        def assign(points: Tensor, power: Tensor) -> Tensor:
            centres = kmeans(points, n_clusters, weights=(power > 0).to(points.dtype)).centres
            return soft_assignment(points, centres, _BETA)

        return clustering_confidence(
            self,
            mixture,
            approach,
            threshold,
            features=lambda spectrogram: apply_per_channel(
                network, "embedding", normalized_magnitude(spectrogram), axis=1
            ),
            assign=assign,
            n_clusters=n_clusters,
        )

    def masks_and_features(self, spectrogram: Spectrogram) -> tuple[Masks, Features]:
        """The masks and the embedding of a network with both outputs, for multi-task training.

        Raises:
            ValueError: if the network has no embedding, or another number of channels than the mixture.
        """
        network = self._embedding_network()
        magnitude = normalized_magnitude(spectrogram)
        if magnitude.shape[1] != network.channels:
            wanted, got = network.channels, magnitude.shape[1]
            raise ValueError(f"mixture must have the channels of the network, {wanted}, got {got}")
        masks, features = call_in_own_precision(network, "both", magnitude)
        return masks.to(magnitude.dtype), features.to(magnitude.dtype)

    def _embedding_network(self) -> EmbeddingNetwork:
        if not isinstance(self.network, EmbeddingNetwork) or not hasattr(self.network, "both"):
            raise ValueError(f"network must give masks and an embedding, got {type(self.network).__name__}")
        return self.network
