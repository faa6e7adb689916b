"""Recurrent layers over the frames of a spectrogram."""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchsep.checks import check_choice, check_integer, check_number
from torchsep.networks.network import Network

__all__ = ["NORMS", "RecurrentBody", "feature_norm"]

NORMS = ("batch", "instance", "layer")

_KINDS = {"lstm": nn.LSTM, "gru": nn.GRU}


class InstanceNorm(nn.Module):
    """Every feature brought to mean zero and variance one over the frames of its item, then scaled as learned."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))

    def forward(self, features: Float[Tensor, "B N K"]) -> Float[Tensor, "B N K"]:
        """The features, alike in mean and variance."""
        variance, mean = torch.var_mean(features, 1, correction=0, keepdim=True)
        return (features - mean) * (variance + 1e-5).rsqrt() * self.weight + self.bias


class BatchNorm(nn.Module):
    """Every feature brought to mean zero and variance one over batch and frames, as in training on average."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(num_features)

    def forward(self, features: Float[Tensor, "B N K"]) -> Float[Tensor, "B N K"]:
        """The features, alike in mean and variance."""
        return cast("Tensor", self.norm(features.mT)).mT


def feature_norm(norm: str | None, num_features: int) -> nn.Module:
    """A module ``(B, N, K) -> (B, N, K)`` that normalises features.

    Args:
        norm: ``batch``, over all frames of a batch, in evaluation by the statistics of training; ``instance``, over
            the frames of each item; ``layer``, over the features of each frame; None for nothing.
        num_features: number ``K`` of features.

    Raises:
        ValueError: if there is no such norm.
    """
    if norm is None:
        return nn.Identity()
    check_choice(norm, NORMS, "norm")
    kinds = {"batch": BatchNorm, "instance": InstanceNorm, "layer": nn.LayerNorm}
    return kinds[norm](num_features)


class RecurrentBody(Network):
    """Features of every frame, in the light of those before it, and of those after it too where it looks both ways.

    The part that most spectral networks have in common; heads make embeddings or masks of what comes out. To compile it
    as one graph, set ``torch._dynamo.config.allow_rnn``.

    Args:
        num_features: of each frame that comes in.
        hidden_size: units of a layer, in each direction.
        num_layers: one upon another.
        kind: ``lstm`` or ``gru``.
        bidirectional: whether frames to come are known; without, it can run as the signal arrives.
        dropout: share of the values between layers that training sets to zero, from 0 to below 1.
        norm: of what comes in, see :func:`feature_norm`.

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
        """The number of features that come out for each frame."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    @property
    def latency(self) -> int | None:
        """None, for all frames, where it looks both ways or norms by all of them; else 0."""
        return None if self.bidirectional or self.norm == "instance" else 0

    def forward(self, features: Float[Tensor, "B N K"]) -> Float[Tensor, "B N H"]:
        """What the last layer says of every frame."""
        result: Tensor = self.layers(self.input_norm(features))[0]
        return result
