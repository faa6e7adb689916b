"""Recurrent layers over the frames of a spectrogram."""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchsep.checks import check_boolean, check_choice, check_integer, check_number
from torchsep.networks.network import Network

__all__ = ["NORMS", "RecurrentBody", "feature_norm"]

NORMS = ("batch", "instance", "layer")

_KINDS = {"lstm": nn.LSTM, "gru": nn.GRU}


class InstanceNorm(nn.Module):
    """Instance normalisation: features standardised over the frames of each item, with a learned affine map."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))

    def forward(self, features: Float[Tensor, "B N K"]) -> Float[Tensor, "B N K"]:
        """The normalised features."""
        variance, mean = torch.var_mean(features, 1, correction=0, keepdim=True)
        return (features - mean) * (variance + 1e-5).rsqrt() * self.weight + self.bias


class BatchNorm(nn.Module):
    """Batch normalisation over batch and frames, with running statistics in evaluation."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(num_features)

    def forward(self, features: Float[Tensor, "B N K"]) -> Float[Tensor, "B N K"]:
        """The normalised features."""
        return cast("Tensor", self.norm(features.mT)).mT


def feature_norm(norm: str | None, num_features: int) -> nn.Module:
    """A normalisation layer ``(B, N, K) -> (B, N, K)``.

    Args:
        norm: ``batch``, over all frames of a batch, with running statistics in evaluation; ``instance``, over the
            frames of each item; ``layer``, over the features of each frame; None for no normalisation.
        num_features: number ``K`` of features.

    Raises:
        ValueError: if the normalisation is unknown.
    """
    if norm is None:
        return nn.Identity()
    check_choice(norm, NORMS, "norm")
    kinds = {"batch": BatchNorm, "instance": InstanceNorm, "layer": nn.LayerNorm}
    return kinds[norm](num_features)


class RecurrentBody(Network):
    """Stacked recurrent layers: features of every frame with their past, or past and future, context.

    The common part of most spectral networks, followed by heads for embeddings or masks. To compile it as one graph,
    set ``torch._dynamo.config.allow_rnn``.

    Args:
        num_features: number of input features per frame.
        hidden_size: number of units of a layer, per direction.
        num_layers: number of stacked layers.
        kind: ``lstm`` or ``gru``.
        bidirectional: whether future frames are used; if False, the network is causal.
        dropout: dropout probability between layers, from 0 to below 1.
        norm: normalisation of the input, see :func:`feature_norm`.

    Shape:
        ``(B, N, num_features) -> (B, N, output_size)``.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> body = RecurrentBody(num_features=5, hidden_size=8)
        >>> body(torch.zeros(2, 7, 5)).shape, body.output_size
        (torch.Size([2, 7, 16]), 16)

    References:
        S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation, 1997;
        K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine translation",
        EMNLP, 2014.
    """

    def __init__(
        self,
        num_features: int,
        hidden_size: int = 600,
        num_layers: int = 4,
        *,
        kind: str = "lstm",
        bidirectional: bool = True,
        dropout: float = 0.0,
        norm: str | None = "batch",
    ) -> None:
        super().__init__()
        check_boolean(bidirectional, "bidirectional")
        check_integer(num_features, "num_features", at_least=1)
        check_integer(hidden_size, "hidden_size", at_least=1)
        check_integer(num_layers, "num_layers", at_least=1)
        check_choice(kind, tuple(_KINDS), "kind")
        check_number(dropout, "dropout", at_least=0.0)
        if dropout >= 1:
            raise ValueError(f"dropout must be below 1, got {dropout}")
        self.num_features = num_features
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.kind = kind
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.norm = norm
        self.input_norm = feature_norm(norm, num_features)
        self.layers = _KINDS[kind](
            num_features,
            hidden_size,
            num_layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if num_layers > 1 else 0.0,
        )

    @property
    def output_size(self) -> int:
        """The number of output features per frame."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    @property
    def latency(self) -> int | None:
        """None (unbounded) if bidirectional or with instance normalisation, otherwise 0."""
        return None if self.bidirectional or self.norm == "instance" else 0

    def forward(self, features: Float[Tensor, "B N K"]) -> Float[Tensor, "B N H"]:
        """The output of the last layer for every frame."""
        result: Tensor = self.layers(self.input_norm(features))[0]
        return result
