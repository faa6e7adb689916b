"""Base classes of networks: mask, embedding and waveform networks."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor

from torchsep.configurable import Configurable
from torchsep.typing import Estimates, Features, Masks, Waveform

__all__ = ["EmbeddingNetwork", "Magnitude", "MaskNetwork", "Network", "WaveformNetwork"]

Magnitude = Float[Tensor, "B C F N"]


class Network(Configurable, ABC):
    """Base class of networks, for inputs of any length.

    The separator that contains a network normalises every mixture to unit RMS, so networks are independent of levels,
    sample rates and source names.
    """

    channels: int = 1
    """Number of channels that are processed jointly; a mono network is applied to each channel of a mixture."""

    @abstractmethod
    def forward(self, signal: Tensor, /) -> Tensor:
        """The output of the network."""

    @property
    def receptive_field(self) -> int | None:
        """Number of input frames, or samples, that an output depends on; None if unbounded."""
        return None

    @property
    def latency(self) -> int | None:
        """Number of future frames, or samples, that an output depends on; None if unbounded."""
        return None

    @property
    def num_parameters(self) -> int:
        """The number of trainable weights."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)


class MaskNetwork(Network):
    """A network that estimates a mask for every source."""

    num_bins: int
    """Number ``F`` of frequency bins."""

    num_sources: int
    """Number ``S`` of masks."""

    normalised: bool = False
    """Whether the masks sum to one in every bin."""

    @abstractmethod
    def masks(self, magnitude: Magnitude) -> Masks:
        """The masks ``(B, S, C, F, N)`` in [0, 1], from the magnitude spectrogram of a mixture ``(B, C, F, N)``."""

    def forward(self, magnitude: Magnitude) -> Masks:
        """The masks."""
        return self.masks(magnitude)


class EmbeddingNetwork(Network):
    """A network that maps every bin to an embedding vector, similar for bins dominated by the same source."""

    num_bins: int
    """Number ``F`` of frequency bins."""

    embedding_size: int
    """Number ``D`` of dimensions of the embedding."""

    @abstractmethod
    def embedding(self, magnitude: Magnitude) -> Features:
        """The embeddings ``(B, C, F, N, D)``, from the magnitude spectrogram of a mixture ``(B, C, F, N)``."""

    def forward(self, magnitude: Magnitude) -> Features:
        """The embeddings."""
        return self.embedding(magnitude)


class WaveformNetwork(Network):
    """A network from the waveform of a mixture to those of its sources."""

    num_sources: int
    """Number ``S`` of sources."""

    @abstractmethod
    def forward(self, mixture: Waveform) -> Estimates:
        """The estimated sources ``(B, S, C, T)`` of mixtures ``(B, C, T)``."""
