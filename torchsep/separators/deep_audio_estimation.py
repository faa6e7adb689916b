"""Separation by a network from waveform to waveforms."""

from collections.abc import Sequence

from torch import Tensor

from torchsep.functional.magnitude import rms
from torchsep.networks import WaveformNetwork
from torchsep.separators.bases.network_separator import channels_of, per_channel, same_order
from torchsep.separators.bases.separator import Separator
from torchsep.separators.bases.source_names import are_numbered, check_names
from torchsep.typing import Estimates, Waveform

__all__ = ["DeepAudioEstimation"]


class DeepAudioEstimation(Separator):
    """Separate by a network that takes a waveform and gives those of the sources.

    The network hears every mixture at one level, and what it gives comes back at that of the mixture. One that hears
    one channel at a time is run on each; the sources of unnamed networks, which come in any order, are then put into
    the order of the first channel.

    Args:
        network: gives the waveforms.
        names: of the sources; numbered if None, which says that their order means nothing.
        sample_rate: of the mixtures, in Hz, for which the network was or will be trained.

    Shape:
        ``(B, C, T) -> (B, S, C, T)``.

    Raises:
        ValueError: if the network does not give waveforms.

    Gradient:
        Exact into the mixture and the weights, the order of the channels' sources being held.

    Example:
        >>> from torchsep.networks import DPRNN
        >>> network = DPRNN(bottleneck_size=8, hidden_size=8, num_blocks=1)
        >>> DeepAudioEstimation(network, names=["voice", "rest"], sample_rate=8000)(torch.ones(1, 4000)).shape
        torch.Size([2, 1, 4000])

    References:
        Y. Luo and N. Mesgarani, "Conv-TasNet: surpassing ideal time-frequency magnitude masking for speech
        separation", IEEE/ACM TASLP, 2019.
    """

    autocast = True
    conservative = False
    bytes_per_sample = 3000.0

    def __init__(self, network: WaveformNetwork, names: Sequence[str] | None = None, *, sample_rate: int) -> None:
        super().__init__(sample_rate=sample_rate)
        if not isinstance(network, WaveformNetwork):
            raise ValueError(f"network must give waveforms, got {network!r}")
        self.network = network
        self.names = check_names(names, network.num_sources)
        self.channels = channels_of(network)
        self._ordered = not are_numbered(self.names)

    def separate(self, mixture: Waveform, **required: Tensor) -> Estimates:
        """What the network makes of the mixture."""
        level = rms(mixture)
        estimates = per_channel(self.network, "forward", mixture / level)
        if not self._ordered and self.network.channels == 1 and mixture.shape[1] > 1:
            estimates = same_order(estimates, estimates)
        return estimates * level[:, None]
