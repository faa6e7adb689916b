"""A separator whose estimates another one refines."""

from torch import Tensor

from torchsep.configurable import registry_name
from torchsep.separators.bases.separator import Separator
from torchsep.typing import Estimates, Waveform

__all__ = ["Refine"]


class Refine(Separator):
    """Separate with one separator, and refine its estimates with another that asks for estimates.

    Both see the mixture. So the sources of a network or of a classical method become consistent over the channels, by
    a :class:`WienerFilter`; and a network can be trained through the filter that will follow it.

    Args:
        separator: makes the estimates; of this sample rate, as its refiner.
        refiner: takes the mixture and ``estimates``, and nothing else.
        sample_rate: of the mixtures, in Hz.

    Shape:
        ``(B, C, T) -> (B, S, C, T)``, with the sources of the separator, which also says what else a call needs.

    Gradient:
        That of both, one through the other.

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
            raise ValueError(f"refiner must ask for estimates, got {registry_name(type(refiner))}, asking for {needs}")
        if None not in {separator.channels, refiner.channels} and separator.channels != refiner.channels:
            raise ValueError(f"refiner must take {separator.channels} channels, got one of {refiner.channels}")
        self.separator = separator
        self.refiner = refiner
        self.names = separator.names
        self.channels = refiner.channels if separator.channels is None else separator.channels
        self.requires = separator.requires
        self.differentiable = separator.differentiable and refiner.differentiable
        self.conservative = refiner.conservative
        # Allowed through to the parts, of which each decides for itself.
        self.autocast = separator.autocast or refiner.autocast
        self.bytes_per_sample = max(separator.bytes_per_sample, refiner.bytes_per_sample)

    def separate(self, mixture: Waveform, **required: Tensor) -> Estimates:
        """Refine what the separator makes of the mixture."""
        return self.refiner(mixture, estimates=self.separator(mixture, **required))
