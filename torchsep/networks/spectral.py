"""Spectral networks of a recurrent body and heads: masks, embeddings, or both."""

from jaxtyping import Float
from torch import Tensor

from torchsep.functional.magnitude import log_magnitude
from torchsep.networks.heads import EmbeddingHead, MaskHead
from torchsep.networks.network import EmbeddingNetwork, Magnitude, MaskNetwork
from torchsep.networks.recurrent_body import RecurrentBody
from torchsep.typing import Features, Masks

__all__ = ["Chimera", "Embedding", "MaskInference"]


def _body_of(body: object) -> RecurrentBody:
    if not isinstance(body, RecurrentBody):
        raise ValueError(f"body must be a RecurrentBody, got {body!r}")
    return body


def _frames(body: RecurrentBody, magnitude: Magnitude) -> Float[Tensor, "B N K"]:
    """The output of the body for mono log-magnitude spectrograms."""
    features: Tensor = body(log_magnitude(magnitude[:, 0]).mT)
    return features


class MaskInference(MaskNetwork):
    """Mask inference network: a recurrent body with a head that estimates a mask for each source.

    Args:
        body: recurrent layers over the frames, with one input feature per bin.
        num_sources: number of masks.
        mask_activation: ``softmax``, for masks that sum to one, or ``sigmoid``.

    Shape:
        ``(B, 1, F, N) -> (B, S, 1, F, N)``.

    Example:
        >>> network = MaskInference(RecurrentBody(num_features=5, hidden_size=8))
        >>> network(torch.ones(3, 1, 5, 7)).shape
        torch.Size([3, 2, 1, 5, 7])

    References:
        M. Kolbaek, D. Yu, Z.-H. Tan and J. Jensen, "Multitalker speech separation with utterance-level permutation
        invariant training of deep recurrent neural networks", IEEE/ACM TASLP, 2017.
    """

    def __init__(self, body: RecurrentBody, num_sources: int = 2, mask_activation: str = "softmax") -> None:
        super().__init__()
        self.body = _body_of(body)
        self.num_sources = num_sources
        self.mask_activation = mask_activation
        self.num_bins = body.num_features
        self.normalised = mask_activation == "softmax"
        self.mask_head = MaskHead(body.output_size, self.num_bins, num_sources, mask_activation)

    @property
    def latency(self) -> int | None:
        """That of the body."""
        return self.body.latency

    def masks(self, magnitude: Magnitude) -> Masks:
        """The mask of each source."""
        return self.mask_head(_frames(self.body, magnitude))[:, :, None]


class Embedding(EmbeddingNetwork):
    """Deep clustering network: a recurrent body with a head that maps each bin to a unit embedding vector.

    Args:
        body: recurrent layers over the frames, with one input feature per bin.
        embedding_size: number of dimensions of the embedding.
        embedding_activation: activation before the normalisation: ``sigmoid``, ``tanh`` or ``linear``.

    Shape:
        ``(B, 1, F, N) -> (B, 1, F, N, D)``.

    Example:
        >>> network = Embedding(RecurrentBody(num_features=5, hidden_size=8), embedding_size=4)
        >>> network(torch.ones(3, 1, 5, 7)).shape
        torch.Size([3, 1, 5, 7, 4])

    References:
        J. Hershey, Z. Chen, J. Le Roux and S. Watanabe, "Deep clustering: discriminative embeddings for segmentation
        and separation", ICASSP, 2016.
    """

    def __init__(self, body: RecurrentBody, embedding_size: int = 20, embedding_activation: str = "sigmoid") -> None:
        super().__init__()
        self.body = _body_of(body)
        self.embedding_size = embedding_size
        self.embedding_activation = embedding_activation
        self.num_bins = body.num_features
        self.embedding_head = EmbeddingHead(body.output_size, self.num_bins, embedding_size, embedding_activation)

    @property
    def latency(self) -> int | None:
        """That of the body."""
        return self.body.latency

    def embedding(self, magnitude: Magnitude) -> Features:
        """The embedding of each bin."""
        return self.embedding_head(_frames(self.body, magnitude))[:, None]


class Chimera(MaskNetwork, EmbeddingNetwork):
    """Chimera network: a recurrent body with a mask head and an embedding head, for multi-task training.

    Args:
        body: recurrent layers over the frames, with one input feature per bin.
        num_sources: number of masks.
        embedding_size: number of dimensions of the embedding.
        mask_activation: ``softmax`` or ``sigmoid``.
        embedding_activation: activation before the normalisation: ``sigmoid``, ``tanh`` or ``linear``.

    Shape:
        ``(B, 1, F, N) -> (B, S, 1, F, N)``, the masks; :meth:`both` also returns the embedding ``(B, 1, F, N, D)``.

    Example:
        >>> network = Chimera(RecurrentBody(num_features=5, hidden_size=8), embedding_size=4)
        >>> [result.shape for result in network.both(torch.ones(3, 1, 5, 7))]
        [torch.Size([3, 2, 1, 5, 7]), torch.Size([3, 1, 5, 7, 4])]

    References:
        Y. Luo, Z. Chen, J. Hershey, J. Le Roux and N. Mesgarani, "Deep clustering and conventional networks for music
        separation: stronger together", ICASSP, 2017.
    """

    def __init__(
        self,
        body: RecurrentBody,
        num_sources: int = 2,
        embedding_size: int = 20,
        *,
        mask_activation: str = "softmax",
        embedding_activation: str = "sigmoid",
    ) -> None:
        super().__init__()
        self.body = _body_of(body)
        self.num_sources = num_sources
        self.embedding_size = embedding_size
        self.mask_activation = mask_activation
        self.embedding_activation = embedding_activation
        self.num_bins = body.num_features
        self.normalised = mask_activation == "softmax"
        self.mask_head = MaskHead(body.output_size, self.num_bins, num_sources, mask_activation)
        self.embedding_head = EmbeddingHead(body.output_size, self.num_bins, embedding_size, embedding_activation)

    @property
    def latency(self) -> int | None:
        """That of the body."""
        return self.body.latency

    def masks(self, magnitude: Magnitude) -> Masks:
        """The mask of each source."""
        return self.mask_head(_frames(self.body, magnitude))[:, :, None]

    def embedding(self, magnitude: Magnitude) -> Features:
        """The embedding of each bin."""
        return self.embedding_head(_frames(self.body, magnitude))[:, None]

    def both(self, magnitude: Magnitude) -> tuple[Masks, Features]:
        """The masks and the embeddings, with a single pass through the body."""
        frames = _frames(self.body, magnitude)
        return self.mask_head(frames)[:, :, None], self.embedding_head(frames)[:, None]

    def forward(self, magnitude: Magnitude) -> Masks:
        """The masks."""
        return self.masks(magnitude)
