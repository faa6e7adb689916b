"""Conv-TasNet: a fully convolutional time-domain network with a learned filter bank."""

from torch import nn

from torchsep.checks import check_choice, check_integer
from torchsep.networks.network import WaveformNetwork
from torchsep.typing import Estimates, Waveform

__all__ = ["ConvTasNet"]

MASK_ACTIVATIONS = ("sigmoid", "relu")


class ConvTasNet(WaveformNetwork):
    """Conv-TasNet for mono mixtures: masks on the coefficients of short learned filters, by dilated convolutions.

    The masks are estimated by stacks of convolutions whose dilation doubles from layer to layer. The network is fully
    convolutional, so training is fast and long contexts are cheap. :class:`DPRNN` is smaller and has a larger context,
    but takes more time per step. Every layer is normalised over the whole signal (non-causal).

    Args:
        num_sources: number ``S`` of sources.
        num_filters: number of filters of the filter bank.
        kernel_size: length of a filter in samples, at least 2; the stride is half of it, rounded down.
        bottleneck_size: number of features between the layers.
        hidden_size: number of features within a layer.
        num_layers: number of layers of a stack, with dilations of one, two, four and so on.
        num_stacks: number of successive stacks.
        mask_activation: ``sigmoid``, or ``relu`` for masks that may exceed one.

    Shape:
        ``(B, 1, T) -> (B, S, 1, T)``.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> network = ConvTasNet(num_filters=8, bottleneck_size=4, hidden_size=6, num_layers=2, num_stacks=1)
        >>> network(torch.zeros(3, 1, 100)).shape
        torch.Size([3, 2, 1, 100])

    References:
        Y. Luo and N. Mesgarani, "Conv-TasNet: surpassing ideal time-frequency magnitude masking for speech
        separation", IEEE/ACM TASLP, 2019.
    """

    def __init__(
        self,
        num_sources: int = 2,
        num_filters: int = 512,
        kernel_size: int = 16,
        *,
        bottleneck_size: int = 128,
        hidden_size: int = 512,
        num_layers: int = 8,
        num_stacks: int = 3,
        mask_activation: str = "sigmoid",
    ) -> None:
        super().__init__()
        check_integer(num_sources, "num_sources", at_least=1)
        check_integer(num_filters, "num_filters", at_least=1)
        check_integer(kernel_size, "kernel_size", at_least=2)
        check_integer(bottleneck_size, "bottleneck_size", at_least=1)
        check_integer(hidden_size, "hidden_size", at_least=1)
        check_integer(num_layers, "num_layers", at_least=1)
        check_integer(num_stacks, "num_stacks", at_least=1)
        check_choice(mask_activation, MASK_ACTIVATIONS, "mask_activation")
        self.num_sources = num_sources
        self.num_filters = num_filters
        self.kernel_size = kernel_size
        self.bottleneck_size = bottleneck_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.num_stacks = num_stacks
        self.mask_activation = mask_activation

        import torchaudio

        self.model: nn.Module = torchaudio.models.ConvTasNet(
            num_sources,
            enc_kernel_size=kernel_size,
            enc_num_feats=num_filters,
            msk_kernel_size=3,  # the only size that matches its padding
            msk_num_feats=bottleneck_size,
            msk_num_hidden_feats=hidden_size,
            msk_num_layers=num_layers,
            msk_num_stacks=num_stacks,
            msk_activate=mask_activation,
        )

    def forward(self, mixture: Waveform) -> Estimates:
        """The estimated sources of a mixture."""
        estimates: Estimates = self.model(mixture)
        return estimates[:, :, None]
