"""Refinement of a separator's estimates by another separator."""

from torch import Tensor

from torchsep.configurable import registry_name
from torchsep.functional.images import source_images
from torchsep.separators.bases.separator import Separator
from torchsep.typing import Estimates, Waveform

__all__ = ["Refine"]


class Refine(Separator):
    """Apply a separator, then refine its estimates by a second one, such as a :class:`WienerFilter`.

    Both take the mixture. A Wiener filter makes the estimates of a network or of a classical method consistent across
    channels, and the network can be trained through the filter.

    Args:
        separator: separator that computes the initial estimates, with the same sample rate.
        refiner: separator that requires ``estimates`` besides the mixture, and no other tensor.
        sample_rate: sample rate of the mixtures, in Hz.

    Shape:
        ``(B, C, T) -> (B, S, C, T)``, with the sources and required tensors of the separator.

    Gradient:
        That of the composition of both.

    Example:
        >>> from torchsep.separators.wiener_filter import WienerFilter
        >>> separator = Refine(HPSS(sample_rate=8000), WienerFilter(sample_rate=8000), sample_rate=8000)
        >>> separator.names
        ('harmonic', 'percussive')
        >>> separator(torch.ones(2, 4000)).shape
        torch.Size([2, 2, 4000])
    """

    def __init__(self, separator: Separator, refiner: Separator, *, sample_rate: int) -> None:
        super().__init__(sample_rate=sample_rate)
        for part, argument in ((separator, "separator"), (refiner, "refiner")):
            if not isinstance(part, Separator):
                raise ValueError(f"{argument} must be a separator, got {part!r}")
            if part.sample_rate != sample_rate:
                raise ValueError(f"{argument} must have sample_rate={sample_rate}, got {part.sample_rate}")
        if tuple(refiner.requires) != ("estimates",):
            needs = ", ".join(refiner.requires) or "nothing"
            raise ValueError(f"refiner must require estimates, got {registry_name(type(refiner))}, requiring {needs}")
        if None not in {separator.channels, refiner.channels} and separator.channels != refiner.channels:
            raise ValueError(f"refiner must take {separator.channels} channels, got {refiner.channels}")
        self.separator = separator
        self.refiner = refiner
        self.names = separator.names
        self.channels = refiner.channels if separator.channels is None else separator.channels
        self.requires = separator.requires
        self.differentiable = separator.differentiable and refiner.differentiable
        self.conservative = refiner.conservative
        # Each part disables autocast itself if it must.
        self.autocast = separator.autocast or refiner.autocast
        self.bytes_per_sample = max(separator.bytes_per_sample, refiner.bytes_per_sample)

    def separate(self, mixture: Waveform, **required: Tensor) -> Estimates:
        """The refined estimates of the separator."""
        estimates = source_images(self.separator(mixture, **required), mixture)
        return self.refiner(mixture, estimates=estimates)
