"""Spatial clustering: separation by interchannel level and time differences."""

import math
from typing import Unpack

from torch import Tensor

from torchsep.checks import check_number
from torchsep.functional.spatial.features import spatial_features
from torchsep.separators.bases.clustering_separator import ClusteringOptions, ClusteringSeparator
from torchsep.typing import Features, Spectrogram

__all__ = ["SpatialClustering"]


class SpatialClustering(ClusteringSeparator):
    """Spatial clustering: separate a multichannel mixture by interchannel level and time differences.

    The features of a bin are the level difference in dB and the delay, as a cosine and a sine, of each pair of
    channels; see :func:`torchsep.functional.spatial_features`. It suits any number of sources that are panned, delayed
    or recorded with closely spaced microphones, including sources of opposite polarity in two channels.

    Args:
        num_sources: number of sources, at least two.
        max_delay: maximum delay between two channels, in seconds; sound travels 34 cm in a millisecond.
        options: arguments of :class:`ClusteringSeparator`.

    Shape:
        ``(B, C, T) -> (B, num_sources, C, T)`` with ``C`` at least two.

    Gradient:
        Exact, with the delays and the assignment of the bins held fixed.

    Example:
        >>> separator = SpatialClustering(num_sources=2, sample_rate=8000)
        >>> time = torch.arange(4000) / 8000
        >>> left, right = torch.sin(2000 * time), torch.sin(9000 * time)
        >>> mixture = torch.stack((left + 0.4 * right, 0.4 * left + right))
        >>> first, second = separator(mixture)
        >>> (first[0].norm() > first[1].norm(), second[0].norm() > second[1].norm())
        (tensor(False), tensor(True))

    References:
        Shoko Araki, Hiroshi Sawada, Ryo Mukai, Shoji Makino: "Underdetermined blind sparse source separation for
        arbitrarily arranged multiple sensors", Signal Processing, 2007.
    """

    def __init__(
        self,
        num_sources: int = 2,
        max_delay: float = 0.001,
        **options: Unpack[ClusteringOptions],
    ) -> None:
        super().__init__(num_sources, **options)
        check_number(max_delay, "max_delay", at_least=0.0)
        self.max_delay = max_delay

    def features(self, spectrogram: Spectrogram, **required: Tensor) -> Features:
        """The level difference, and the cosine and sine of the delay, of every pair of channels."""
        if spectrogram.shape[1] < 2:
            raise ValueError(f"mixture must have at least 2 channels, got {spectrogram.shape[1]}")
        lag = math.ceil(self.stft.win_length / self.stft.hop_length)
        return spatial_features(spectrogram, self.max_delay * self.sample_rate, lag)
