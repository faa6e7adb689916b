"""Time-domain separation by a network that maps a waveform to those of the sources."""

from collections.abc import Sequence

from torch import Tensor

from torchsep.functional.magnitude import rms
from torchsep.networks import WaveformNetwork
from torchsep.separators.bases.network_separator import align_channels, apply_per_channel, channels_of
from torchsep.separators.bases.separator import Separator
from torchsep.separators.bases.source_names import are_numbered, check_names
from torchsep.typing import Estimates, Waveform

__all__ = ["DeepAudioEstimation"]


class DeepAudioEstimation(Separator):
    """End-to-end separation by a network from the mixture's waveform to those of the sources.

    The mixture is normalised to unit RMS before the network, and the estimates are scaled back. A mono network is
    applied to each channel; if the source order has no meaning, the sources of all channels are then aligned with
    those of the first channel.

    Args:
        network: network that estimates the waveforms.
        names: source names; numbered if None, for sources in no fixed order.
        sample_rate: sample rate of the mixtures and of the network's training data, in Hz.

    Shape:
        ``(B, C, T) -> (B, S, C, T)``.

    Raises:
        ValueError: if the network is no :class:`WaveformNetwork`.

    Gradient:
        Exact with respect to the mixture and the weights, with the alignment of the channels held fixed.

    Example:
        >>> from torchsep.networks import DPRNN
        >>> network = DPRNN(bottleneck_size=8, hidden_size=8, num_blocks=1)
        >>> DeepAudioEstimation(network, names=["vocals", "residual"], sample_rate=8000)(torch.ones(1, 4000)).shape
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
            raise ValueError(f"network must be a WaveformNetwork, got {network!r}")
        self.network = network
        self.names = check_names(names, network.num_sources)
        self.channels = channels_of(network)
        self._ordered = not are_numbered(self.names)

    def separate(self, mixture: Waveform, **required: Tensor) -> Estimates:
        """The output of the network for the normalised mixture, scaled back."""
        level = rms(mixture)
        estimates = apply_per_channel(self.network, "forward", mixture / level)
        if not self._ordered and self.network.channels == 1 and mixture.shape[1] > 1:
            estimates = align_channels(estimates, estimates)
        return estimates * level[:, None]
