"""Output heads: masks or embeddings of bins from the features of frames."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchsep.checks import check_choice, check_integer

__all__ = ["EmbeddingHead", "MaskHead"]

MASK_ACTIVATIONS = ("softmax", "sigmoid")
EMBEDDING_ACTIVATIONS = ("sigmoid", "tanh", "linear")


class MaskHead(nn.Module):
    """Linear layer and activation from frame features to a mask for each source.

    Args:
        num_features: number of features per frame.
        num_bins: number of frequency bins.
        num_sources: number of masks.
        activation: ``softmax`` over the sources, or ``sigmoid``.

    Shape:
        ``(B, N, num_features) -> (B, S, F, N)``.
    """

    def __init__(self, num_features: int, num_bins: int, num_sources: int, activation: str) -> None:
        super().__init__()
        check_integer(num_sources, "num_sources", at_least=1)
        check_choice(activation, MASK_ACTIVATIONS, "mask_activation")
        self.num_sources = num_sources
        self.activation = activation
        self.linear = nn.Linear(num_features, num_sources * num_bins)

    def forward(self, features: Float[Tensor, "B N K"]) -> Float[Tensor, "B S F N"]:
        """The masks."""
        values = self.linear(features).mT.unflatten(1, (self.num_sources, -1))
        return values.softmax(1) if self.activation == "softmax" else values.sigmoid()


class EmbeddingHead(nn.Module):
    """Linear layer, activation and normalisation from frame features to a unit embedding vector for each bin.

    Args:
        num_features: number of features per frame.
        num_bins: number of frequency bins.
        embedding_size: number of dimensions of the embedding.
        activation: activation before the normalisation: ``sigmoid``, ``tanh`` or ``linear``.

    Shape:
        ``(B, N, num_features) -> (B, F, N, D)``.
    """

    def __init__(self, num_features: int, num_bins: int, embedding_size: int, activation: str) -> None:
        super().__init__()
        check_integer(embedding_size, "embedding_size", at_least=1)
        check_choice(activation, EMBEDDING_ACTIVATIONS, "embedding_activation")
        self.embedding_size = embedding_size
        self.activation = activation
        self.linear = nn.Linear(num_features, num_bins * embedding_size)

    def forward(self, features: Float[Tensor, "B N K"]) -> Float[Tensor, "B F N D"]:
        """The embeddings."""
        values = self.linear(features)
        if self.activation != "linear":
            values = getattr(torch, self.activation)(values)
        vectors = values.unflatten(-1, (-1, self.embedding_size)).transpose(1, 2)
        return nn.functional.normalize(vectors, dim=-1)
