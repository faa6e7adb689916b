"""The mixture as estimate of every source: the lower baseline."""

from torch import Tensor

from torchsep.checks import check_integer
from torchsep.separators.bases.separator import Separator
from torchsep.separators.bases.source_names import numbered_names
from torchsep.typing import Estimates, Waveform

__all__ = ["MixAsEstimate"]


class MixAsEstimate(Separator):
    """Lower baseline: the estimate of each source is the mixture divided by the number of sources.

    Args:
        num_sources: number of sources, at least 1.
        sample_rate: sample rate of the mixtures, in Hz.

    Shape:
        ``(B, C, T) -> (B, num_sources, C, T)``.

    Gradient:
        Exact.

    Example:
        >>> import torch
        >>> MixAsEstimate(num_sources=2, sample_rate=8000)(torch.ones(1, 3))
        tensor([[[0.5000, 0.5000, 0.5000]],
        <BLANKLINE>
                [[0.5000, 0.5000, 0.5000]]])
    """

    def __init__(self, num_sources: int, *, sample_rate: int) -> None:
        super().__init__(sample_rate=sample_rate)
        check_integer(num_sources, "num_sources", at_least=1)
        self.num_sources = num_sources
        self.names = numbered_names(num_sources)

    def separate(self, mixture: Waveform, **required: Tensor) -> Estimates:
        """Repeat the mixture."""
        return (mixture / self.num_sources)[:, None].repeat(1, self.num_sources, 1, 1)
