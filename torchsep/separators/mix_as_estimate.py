"""The mixture as estimate of every source: the lower baseline."""

from torch import Tensor

from torchsep.checks import check_integer, check_number
from torchsep.separators.bases.separator import Separator
from torchsep.separators.bases.source_names import numbered_names
from torchsep.typing import Estimates, Waveform

__all__ = ["MixAsEstimate"]


class MixAsEstimate(Separator):
    """Lower baseline: the estimate of each source is the mixture, scaled.

    Args:
        num_sources: number of sources, at least 1.
        scale: gain of each estimate, above zero; ``1 / num_sources`` if None, so that the estimates sum to the mixture.
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

    is_baseline = True

    def __init__(self, num_sources: int = 2, scale: float | None = None, *, sample_rate: int) -> None:
        super().__init__(sample_rate=sample_rate)
        check_integer(num_sources, "num_sources", at_least=1)
        if scale is not None:
            check_number(scale, "scale", above=0.0)
        self.num_sources = num_sources
        self.scale = scale
        self.conservative = scale is None or scale * num_sources == 1
        self.names = numbered_names(num_sources)

    def separate(self, mixture: Waveform, **required: Tensor) -> Estimates:
        """Repeat the mixture."""
        scaled = mixture / self.num_sources if self.scale is None else mixture * self.scale
        return scaled[:, None].repeat(1, self.num_sources, 1, 1)
