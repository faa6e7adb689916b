"""Separation by clustering the embedding of a network."""

from typing import Any

from torch import Tensor

from torchsep.networks import EmbeddingNetwork
from torchsep.separators.around_network import channels_of, check_bins, levelled, per_channel
from torchsep.separators.clustering_separator import ClusteringSeparator
from torchsep.transforms import STFT
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
        clustering_type: ``KMeans``, ``MiniBatchKMeans``, or ``GaussianMixture``.
        percentile: from 0 to 100; clusters are fitted to the bins at least as loud as this share of all.
        beta: how hard the masks of k-means are; at zero all are equal.
        covariance_type: of a Gaussian mixture: ``full``, ``tied``, ``diag`` or ``spherical``.
        fit_clusterer: whether clusters are fitted to each mixture; else those of ``init`` are used as they are.
        init: clusters to start from or to use, see :class:`ClusteringSeparator`.
        seed: of what is chosen at random.
        sample_rate: of the mixtures, in Hz, for which the network was or will be trained.
        mask_type: ``soft`` or ``binary``.
        mask_threshold: of a binary second mask of two.
        stft: front end, with as many bins as the network; that of :meth:`STFT.from_sample_rate` if None.

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
        clustering_type: str = "KMeans",
        *,
        percentile: float = 90.0,
        beta: float = 5.0,
        covariance_type: str = "full",
        fit_clusterer: bool = True,
        init: Any = None,
        seed: int = 0,
        sample_rate: int,
        mask_type: str = "soft",
        mask_threshold: float = 0.5,
        stft: STFT | None = None,
    ) -> None:
        super().__init__(
            num_sources,
            clustering_type=clustering_type,
            percentile=percentile,
            beta=beta,
            covariance_type=covariance_type,
            fit_clusterer=fit_clusterer,
            init=init,
            seed=seed,
            sample_rate=sample_rate,
            mask_type=mask_type,
            mask_threshold=mask_threshold,
            stft=stft,
        )
        if not isinstance(network, EmbeddingNetwork):
            raise ValueError(f"network must give an embedding, got {network!r}")
        check_bins(network.num_bins, self.stft)
        self.network = network
        self.channels = channels_of(network)

    def features(self, spectrogram: Spectrogram, **required: Tensor) -> Features:
        """The embedding of every bin."""
        return per_channel(self.network, "embedding", levelled(spectrogram), axis=1)
