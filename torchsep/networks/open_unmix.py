"""Open-Unmix: a recurrent mask network with a skip connection for each source."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchsep.checks import check_boolean, check_integer, check_number
from torchsep.networks.network import Magnitude, MaskNetwork
from torchsep.networks.recurrent_body import RecurrentBody, feature_norm
from torchsep.typing import Masks

__all__ = ["OpenUnmix"]


class Source(nn.Module):
    """The model of one source: frames of all channels ``(B, N, C * F)`` to the frames of its unscaled mask."""

    def __init__(self, num_inputs: int, num_outputs: int, body: RecurrentBody) -> None:
        super().__init__()
        hidden_size = body.num_features
        self.encode = nn.Linear(num_inputs, hidden_size, bias=False)
        self.encode_norm = feature_norm("batch", hidden_size)
        self.body = body
        self.decode = nn.Linear(hidden_size + body.output_size, hidden_size, bias=False)
        self.decode_norm = feature_norm("batch", hidden_size)
        self.mask = nn.Linear(hidden_size, num_outputs, bias=False)
        self.mask_norm = feature_norm("batch", num_outputs)

    def forward(self, frames: Float[Tensor, "B N K"]) -> Float[Tensor, "B N M"]:
        """The frames of the mask."""
        encoded = torch.tanh(self.encode_norm(self.encode(frames)))
        joined = torch.cat((encoded, self.body(encoded)), -1)  # skip connection
        decoded = torch.relu(self.decode_norm(self.decode(joined)))
        result: Tensor = self.mask_norm(self.mask(decoded))
        return result


class OpenUnmix(MaskNetwork):
    r"""Open-Unmix: an independent recurrent model with a skip connection for each source.

    Each model encodes the frames by a linear layer, processes them by recurrent layers with a skip connection, and
    decodes the masks. Input bins and masks have learned shifts and scales. The models are independent, so the masks
    need not sum to one. A reference model for music separation into four stems, of moderate size and fast to train.

    Args:
        num_bins: number ``F`` of frequency bins.
        num_sources: number ``S`` of masks.
        channels: number of channels of the mixture, which are processed jointly and have separate masks.
        hidden_size: number of features per frame between the layers; an even number if ``bidirectional``.
        num_layers: number of stacked recurrent layers.
        bidirectional: whether future frames are used; if False, the network is causal.
        max_bin: number of lowest bins used as input; all if None. Masks are estimated for every bin.
        dropout: dropout probability between recurrent layers, from 0 to below 1.

    Shape:
        ``(B, C, F, N) -> (B, S, C, F, N)``.

    Raises:
        ValueError: if an argument is out of range.

    Gradient:
        Exact for masks below one. Masks are clipped at one with a straight-through estimator, so clipped values still
        have a gradient.

    Example:
        >>> network = OpenUnmix(num_bins=9, num_sources=3, hidden_size=8).eval()
        >>> network(torch.ones(2, 2, 9, 7)).shape
        torch.Size([2, 3, 2, 9, 7])

    References:
        F.-R. Stoter, S. Uhlich, A. Liutkus and Y. Mitsufuji, "Open-Unmix - a reference implementation for music source
        separation", JOSS, 2019.
    """

    def __init__(
        self,
        num_bins: int,
        num_sources: int = 4,
        *,
        channels: int = 2,
        hidden_size: int = 512,
        num_layers: int = 3,
        bidirectional: bool = True,
        max_bin: int | None = None,
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        check_boolean(bidirectional, "bidirectional")
        check_integer(num_bins, "num_bins", at_least=1)
        check_integer(num_sources, "num_sources", at_least=1)
        check_integer(channels, "channels", at_least=1)
        check_integer(hidden_size, "hidden_size", at_least=1)
        if bidirectional and hidden_size % 2:
            raise ValueError(f"hidden_size must be even with bidirectional, got {hidden_size}")
        max_bin = num_bins if max_bin is None else max_bin
        check_integer(max_bin, "max_bin", at_least=1)
        check_number(max_bin, "max_bin", at_most=num_bins)
        self.num_bins = num_bins
        self.num_sources = num_sources
        self.channels = channels
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.max_bin = max_bin
        self.dropout = dropout

        directions = 2 if bidirectional else 1
        self.sources = nn.ModuleList(
            Source(
                channels * max_bin,
                channels * num_bins,
                RecurrentBody(
                    hidden_size,
                    hidden_size // directions,
                    num_layers,
                    bidirectional=bidirectional,
                    dropout=dropout,
                    norm=None,
                ),
            )
            for _ in range(num_sources)
        )
        self.input_shift = nn.Parameter(torch.zeros(num_sources, max_bin, 1))
        self.input_scale = nn.Parameter(torch.ones(num_sources, max_bin, 1))
        self.mask_shift = nn.Parameter(torch.ones(num_sources, 1, num_bins, 1))
        self.mask_scale = nn.Parameter(torch.ones(num_sources, 1, num_bins, 1))

    @property
    def latency(self) -> int | None:
        """None (unbounded) if bidirectional, otherwise 0."""
        return None if self.bidirectional else 0

    def masks(self, magnitude: Magnitude) -> Masks:
        """The mask of each source."""
        cropped = magnitude[:, :, : self.max_bin]
        masks = []
        for source, shift, scale in zip(self.sources, self.input_shift, self.input_scale, strict=True):
            frames = ((cropped + shift) * scale).flatten(1, 2).mT
            masks.append(source(frames).mT.unflatten(1, (self.channels, self.num_bins)))
        values = (torch.stack(masks, 1) * self.mask_scale + self.mask_shift).relu()
        bounded = values.clamp(max=1.0)
        return bounded.detach() + (values - values.detach()) if values.requires_grad else bounded
