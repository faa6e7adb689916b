"""Type aliases of the tensors used throughout the library.

``B`` batch, ``S`` sources, ``C`` channels, ``T`` samples, ``F`` frequency bins, ``N`` frames, ``D`` features.
"""

from jaxtyping import Complex, Float
from torch import Tensor

__all__ = ["Estimates", "Features", "Masks", "Spectrogram", "Waveform"]

Waveform = Float[Tensor, "B C T"]
Estimates = Float[Tensor, "B S C T"]
Spectrogram = Complex[Tensor, "B C F N"]
Masks = Float[Tensor, "B S #C F N"]
Features = Float[Tensor, "B C F N D"]
