"""What every network takes, returns and states of itself."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor

from torchsep.configurable import Configurable
from torchsep.typing import Estimates, Features, Masks, Waveform

__all__ = ["EmbeddingNetwork", "Magnitude", "MaskNetwork", "Network", "WaveformNetwork"]

Magnitude = Float[Tensor, "B C F N"]


class Network(Configurable, ABC):
    """A deep model, tensors in and tensors out.

    A separator is built around it and brings every mixture to a root mean square of one, so that a network need not
    know of levels, nor of sample rates and names. It works for any length.
    """

    channels: int = 1
    """Number of channels that are looked at together; a network of one is run on each channel of a mixture."""

    @abstractmethod
    def forward(self, signal: Tensor, /) -> Tensor:
        """What the network makes of a signal."""

    @property
    def receptive_field(self) -> int | None:
        """On how many frames, or samples of a waveform, one of the result depends; None for all."""
        return None

    @property
    def latency(self) -> int | None:
        """How many frames, or samples, after its own one of the result needs; None for all."""
        return None

    @property
    def num_parameters(self) -> int:
        """The number of weights that are learned."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)


class MaskNetwork(Network):
    """A network that gives every source a mask."""

    num_bins: int
    """Number ``F`` of frequency bins."""

    num_sources: int
    """Number ``S`` of masks."""

    normalised: bool = False
    """Whether the masks add up to one in every bin."""

    @abstractmethod
    def masks(self, magnitude: Magnitude) -> Masks:
        """Masks from zero to one ``(B, S, C, F, N)`` from a mixture's magnitudes ``(B, C, F, N)``."""

    def forward(self, magnitude: Magnitude) -> Masks:
        """The masks."""
        return self.masks(magnitude)


class EmbeddingNetwork(Network):
    """A network that gives every bin a vector, alike for bins of one source."""

    num_bins: int
    """Number ``F`` of frequency bins."""

    embedding_size: int
    """Number ``D`` of a vector's entries."""

    @abstractmethod
    def embedding(self, magnitude: Magnitude) -> Features:
        """Vectors ``(B, C, F, N, D)`` from a mixture's magnitudes ``(B, C, F, N)``."""

    def forward(self, magnitude: Magnitude) -> Features:
        """The vectors."""
        return self.embedding(magnitude)


class WaveformNetwork(Network):
    """A network from a mixture's waveform to its sources'."""

    num_sources: int
    """Number ``S`` of sources."""

    @abstractmethod
    def forward(self, mixture: Waveform) -> Estimates:
        """The sources ``(B, S, C, T)`` of mixtures ``(B, C, T)``."""
