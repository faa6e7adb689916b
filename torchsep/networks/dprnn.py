"""Separation by recurrent layers along two paths: within short chunks of a signal, and across the chunks."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchsep.checks import check_choice, check_integer
from torchsep.networks.filter_banks import FilterBank, LearnedFilterBank
from torchsep.networks.network import WaveformNetwork
from torchsep.networks.recurrent_body import RecurrentBody
from torchsep.typing import Estimates, Waveform

__all__ = ["DPRNN"]

NORMS = ("global", "layer")
MASK_ACTIVATIONS = ("sigmoid", "relu")

Chunks = Float[Tensor, "B J P D"]  # J chunks of P frames


class ItemNorm(nn.Module):
    """Features ``(B, ..., D)`` brought to mean zero and variance one over all of an item, then scaled as learned."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))

    def forward(self, features: Float[Tensor, "B *any D"]) -> Float[Tensor, "B *any D"]:
        """The features, alike in mean and variance."""
        shape = features.shape[1:]  # one fused pass, where a norm and a scale after it take several
        return nn.functional.layer_norm(features, shape, self.weight.expand(shape), self.bias.expand(shape))


class Path(nn.Module):
    """A recurrent layer along the last but one axis of chunks ``(..., D)``, added to what came in."""

    def __init__(self, num_features: int, hidden_size: int, kind: str, norm: str, *, bidirectional: bool) -> None:
        super().__init__()
        self.body = RecurrentBody(num_features, hidden_size, 1, kind=kind, bidirectional=bidirectional, norm=None)
        self.linear = nn.Linear(self.body.output_size, num_features)
        self.norm = _norm(norm, num_features)

    def forward(self, chunks: Chunks) -> Chunks:
        """The chunks with what the layer says of them."""
        heard = self.linear(self.body(chunks.flatten(0, 1)))
        result: Tensor = chunks + self.norm(heard.view(chunks.shape))
        return result


class DPRNN(WaveformNetwork):
    r"""The sources of a mono mixture, from masks on the coefficients of a filter bank, by dual-path recurrence.

    The frames are cut into chunks that overlap by half. One recurrent layer runs along each chunk, the next across the
    chunks, from each position to the same of the others, and so on: with chunks of about :math:`\sqrt{2 N}` of ``N``
    frames, none of them ever has more than that many steps to go, though every frame hears of all. Small, and among
    the best for its size; :class:`ConvTasNet` takes less time a step where it is run on long signals.

    Args:
        num_sources: number ``S`` of sources.
        filter_bank: between the waveform and the frames; 64 learned filters of 16 samples if None.
        bottleneck_size: features ``D`` of a frame between the layers.
        hidden_size: units of a layer, in each direction.
        chunk_size: frames in a chunk, an even number.
        num_blocks: pairs of a layer along and a layer across the chunks.
        kind: of the layers, ``lstm`` or ``gru``.
        bidirectional: whether the layers across run both ways; those along do.
        norm: after each layer: ``global``, over all of a signal, or ``layer``, over the features of each frame, which
            with ``bidirectional=False`` can run as the signal arrives.
        mask_activation: ``sigmoid``, or ``relu``, whose masks may amplify.

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
        """A chunk, and a filter; None, for all samples, with layers that look both ways or norms over all."""
        if self.bidirectional or self.norm == "global":
            return None
        return (self.chunk_size - 1) * self.filter_bank.stride + self.filter_bank.latency

    def forward(self, mixture: Waveform) -> Estimates:
        """The sources of a mixture."""
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
        """Frames in chunks, half a chunk after one another, such that each frame is in two."""
        half = self.chunk_size // 2
        count = (frames.shape[1] + half - 1) // half  # ONNX divides negative numbers otherwise
        after = half + count * half - frames.shape[1]
        halves = nn.functional.pad(frames, (0, 0, half, after)).unflatten(1, (-1, half))
        return torch.cat((halves[:, :-1], halves[:, 1:]), 2)

    def _frames(self, chunks: Chunks, count: int) -> Float[Tensor, "B N D"]:
        """The mean of the two that each frame has become in its chunks."""
        first, second = chunks.chunk(2, 2)
        both = (first[:, 1:] + second[:, :-1]) / 2
        return both.flatten(1, 2)[:, :count]


def _norm(norm: str, num_features: int) -> nn.Module:
    return ItemNorm(num_features) if norm == "global" else nn.LayerNorm(num_features)
