"""Deep clustering: separation by clustering the embeddings of a network."""

from typing import Unpack

from torch import Tensor

from torchsep.networks import EmbeddingNetwork
from torchsep.separators.bases.clustering_separator import ClusteringOptions, ClusteringSeparator
from torchsep.separators.bases.network_separator import apply_per_channel, channels_of, check_bins, normalized_magnitude
from torchsep.typing import Features, Spectrogram

__all__ = ["DeepClustering"]


class DeepClustering(ClusteringSeparator):
    """Deep clustering: separate by clustering learned embeddings of the time-frequency bins.

    The network maps bins dominated by the same source to similar vectors. Training needs neither a fixed number of
    sources nor their order. The bins of all channels are clustered jointly, which preserves the stereo image.
    :meth:`confidence` estimates the quality of the result.

    Args:
        network: network that computes the embedding.
        num_sources: number of clusters, at least two.
        options: arguments of :class:`ClusteringSeparator`.

    Shape:
        ``(B, C, T) -> (B, num_sources, C, T)``.

    Raises:
        ValueError: if the network is no :class:`EmbeddingNetwork`, or its number of bins is not that of ``stft``.

    Gradient:
        Exact with respect to the mixture and the weights, with the cluster assignment held fixed.

    Example:
        >>> from torchsep.networks import Embedding, RecurrentBody
        >>> network = Embedding(RecurrentBody(num_features=129, hidden_size=8, num_layers=1))
        >>> DeepClustering(network, num_sources=3, sample_rate=8000)(torch.ones(1, 4000)).shape
        torch.Size([3, 1, 4000])

    References:
        J. Hershey, Z. Chen, J. Le Roux and S. Watanabe, "Deep clustering: discriminative embeddings for segmentation
        and separation", ICASSP, 2016.
    """

    autocast = True
    bytes_per_sample = 800.0

    def __init__(
        self,
        network: EmbeddingNetwork,
        num_sources: int = 2,
        **options: Unpack[ClusteringOptions],
    ) -> None:
        super().__init__(num_sources, **options)
        if not isinstance(network, EmbeddingNetwork):
            raise ValueError(f"network must be an EmbeddingNetwork, got {network!r}")
        check_bins(network.num_bins, self.stft)
        self.network = network
        self.channels = channels_of(network)

    def features(self, spectrogram: Spectrogram, **required: Tensor) -> Features:
        """The embedding of every bin."""
        return apply_per_channel(self.network, "embedding", normalized_magnitude(spectrogram), axis=1)
