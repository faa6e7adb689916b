"""Separation by clustering the embedding of a network."""

from typing import Unpack

from torch import Tensor

from torchsep.networks import EmbeddingNetwork
from torchsep.separators.bases.clustering_separator import ClusteringOptions, ClusteringSeparator
from torchsep.separators.bases.network_separator import channels_of, check_bins, normalized_magnitude, per_channel
from torchsep.typing import Features, Spectrogram

__all__ = ["DeepClustering"]


class DeepClustering(ClusteringSeparator):
    """Separate by clustering the vectors that a network has learned to give to bins of one source alike.

    It needs not know the number of sources when it is trained, nor which is which, and the clusters of all channels are
    found together, so that a stereo image stays. How clearly they stand apart, :meth:`confidence`, tells how far to
    trust the result.

    Args:
        network: gives the embedding.
        num_sources: number of clusters, at least two.
        options: arguments of :class:`ClusteringSeparator`.

    Shape:
        ``(B, C, T) -> (B, num_sources, C, T)``.

    Raises:
        ValueError: if the network gives no embedding, or not for the bins of the front end.

    Gradient:
        Exact into the mixture and the weights, for the assignment of bins to clusters that was found, which is held.

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
            raise ValueError(f"network must give an embedding, got {network!r}")
        check_bins(network.num_bins, self.stft)
        self.network = network
        self.channels = channels_of(network)

    def features(self, spectrogram: Spectrogram, **required: Tensor) -> Features:
        """The embedding of every bin."""
        return per_channel(self.network, "embedding", normalized_magnitude(spectrogram), axis=1)
