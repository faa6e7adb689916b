"""DPRNN: dual-path recurrent network, with recurrent layers within and across chunks of frames."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchsep.checks import check_boolean, check_choice, check_integer
from torchsep.networks.filter_banks import FilterBank, LearnedFilterBank
from torchsep.networks.network import WaveformNetwork
from torchsep.networks.recurrent_body import RecurrentBody
from torchsep.typing import Estimates, Waveform

__all__ = ["DPRNN"]

NORMS = ("global", "layer")
MASK_ACTIVATIONS = ("sigmoid", "relu")

Chunks = Float[Tensor, "B J P D"]  # J chunks of P frames


class ItemNorm(nn.Module):
    """Global layer normalisation: features ``(B, ..., D)`` standardised over each item, with a learned affine map."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))

    def forward(self, features: Float[Tensor, "B *any D"]) -> Float[Tensor, "B *any D"]:
        """The normalised features."""
        shape = features.shape[1:]  # fused normalisation and affine map
        return nn.functional.layer_norm(features, shape, self.weight.expand(shape), self.bias.expand(shape))


class Path(nn.Module):
    """A recurrent layer along the second last axis of chunks ``(..., D)``, with a residual connection."""

    def __init__(self, num_features: int, hidden_size: int, kind: str, norm: str, *, bidirectional: bool) -> None:
        super().__init__()
        self.body = RecurrentBody(num_features, hidden_size, 1, kind=kind, bidirectional=bidirectional, norm=None)
        self.linear = nn.Linear(self.body.output_size, num_features)
        self.norm = _norm(norm, num_features)

    def forward(self, chunks: Chunks) -> Chunks:
        """The input chunks plus the output of the layer."""
        output = self.linear(self.body(chunks.flatten(0, 1)))
        result: Tensor = chunks + self.norm(output.view(chunks.shape))
        return result


class DPRNN(WaveformNetwork):
    r"""DPRNN: dual-path recurrent network for mono mixtures, with masks on the coefficients of a filter bank.

    The frames are split into chunks with 50 % overlap. Recurrent layers alternate between intra-chunk (along each
    chunk) and inter-chunk (across chunks, at the same position). With chunks of about :math:`\sqrt{2 N}` of ``N``
    frames, every sequence has that length only, while the context is the whole signal. Small, and among the best for
    its size; :class:`ConvTasNet` is faster on long signals.

    Args:
        num_sources: number ``S`` of sources.
        filter_bank: analysis-synthesis filter bank; 64 learned filters of 16 samples if None.
        bottleneck_size: number ``D`` of features per frame between the layers.
        hidden_size: number of units of a layer, per direction.
        chunk_size: number of frames of a chunk, an even number.
        num_blocks: number of pairs of an intra-chunk and an inter-chunk layer.
        kind: type of the layers, ``lstm`` or ``gru``.
        bidirectional: whether the inter-chunk layers are bidirectional; the intra-chunk layers always are.
        norm: normalisation after each layer: ``global``, over the whole signal, or ``layer``, over the features of each
            frame, which allows streaming with ``bidirectional=False``.
        mask_activation: ``sigmoid``, or ``relu`` for masks that may exceed one.

    Shape:
        ``(B, 1, T) -> (B, S, 1, T)``.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> network = DPRNN(bottleneck_size=4, hidden_size=6, chunk_size=10, num_blocks=1)
        >>> network(torch.zeros(3, 1, 100)).shape
        torch.Size([3, 2, 1, 100])

    References:
        Y. Luo, Z. Chen and T. Yoshioka, "Dual-path RNN: efficient long sequence modeling for time-domain
        single-channel speech separation", ICASSP, 2020.
    """

    def __init__(
        self,
        num_sources: int = 2,
        filter_bank: FilterBank | None = None,
        *,
        bottleneck_size: int = 64,
        hidden_size: int = 128,
        chunk_size: int = 100,
        num_blocks: int = 6,
        kind: str = "lstm",
        bidirectional: bool = True,
        norm: str = "global",
        mask_activation: str = "sigmoid",
    ) -> None:
        super().__init__()
        check_boolean(bidirectional, "bidirectional")
        check_integer(num_sources, "num_sources", at_least=1)
        check_integer(bottleneck_size, "bottleneck_size", at_least=1)
        check_integer(chunk_size, "chunk_size", at_least=2)
        if chunk_size % 2:
            raise ValueError(f"chunk_size must be even, got {chunk_size}")
        check_integer(num_blocks, "num_blocks", at_least=1)
        check_choice(norm, NORMS, "norm")
        check_choice(mask_activation, MASK_ACTIVATIONS, "mask_activation")
        bank = LearnedFilterBank(64, 16) if filter_bank is None else filter_bank
        if not isinstance(bank, FilterBank):
            raise ValueError(f"filter_bank must be a FilterBank, got {bank!r}")
        self.num_sources = num_sources
        self.filter_bank = bank
        self.bottleneck_size = bottleneck_size
        self.hidden_size = hidden_size
        self.chunk_size = chunk_size
        self.num_blocks = num_blocks
        self.kind = kind
        self.bidirectional = bidirectional
        self.norm = norm
        self.mask_activation = mask_activation

        self.bottleneck = nn.Sequential(_norm(norm, bank.num_filters), nn.Linear(bank.num_filters, bottleneck_size))

        def path(*, bidirectional: bool) -> Path:
            return Path(bottleneck_size, hidden_size, kind, norm, bidirectional=bidirectional)

        self.along = nn.ModuleList(path(bidirectional=True) for _ in range(num_blocks))
        self.across = nn.ModuleList(path(bidirectional=bidirectional) for _ in range(num_blocks))
        self.activation = nn.PReLU()
        self.mask_head = nn.Linear(bottleneck_size, num_sources * bank.num_filters)

    @property
    def latency(self) -> int | None:
        """A chunk plus a filter; None (unbounded) with bidirectional layers or global normalisation."""
        if self.bidirectional or self.norm == "global":
            return None
        return (self.chunk_size - 1) * self.filter_bank.stride + self.filter_bank.latency

    def forward(self, mixture: Waveform) -> Estimates:
        """The estimated sources of a mixture."""
        coefficients = self.filter_bank.encode(mixture[:, 0])
        frames = coefficients.mT
        chunks = self._chunks(self.bottleneck(frames))
        for along, across in zip(self.along, self.across, strict=True):
            chunks = across(along(chunks).transpose(1, 2).contiguous()).transpose(1, 2).contiguous()
        masks = self.mask_head(self.activation(self._frames(chunks, frames.shape[1])))
        masks = masks.sigmoid() if self.mask_activation == "sigmoid" else masks.relu()
        masked = masks.unflatten(-1, (self.num_sources, -1)) * frames[:, :, None]
        return self.filter_bank.decode(masked.permute(0, 2, 3, 1), mixture.shape[-1])[:, :, None]

    def _chunks(self, frames: Float[Tensor, "B N D"]) -> Chunks:
        """The chunks of frames with a hop of half a chunk, so that each frame is in two chunks."""
        half = self.chunk_size // 2
        count = (frames.shape[1] + half - 1) // half  # ONNX rounds negative quotients differently
        after = half + count * half - frames.shape[1]
        halves = nn.functional.pad(frames, (0, 0, half, after)).unflatten(1, (-1, half))
        return torch.cat((halves[:, :-1], halves[:, 1:]), 2)

    def _frames(self, chunks: Chunks, count: int) -> Float[Tensor, "B N D"]:
        """The frames as the mean of their two copies in the chunks (overlap-add)."""
        first, second = chunks.chunk(2, 2)
        both = (first[:, 1:] + second[:, :-1]) / 2
        return both.flatten(1, 2)[:, :count]


def _norm(norm: str, num_features: int) -> nn.Module:
    return ItemNorm(num_features) if norm == "global" else nn.LayerNorm(num_features)
