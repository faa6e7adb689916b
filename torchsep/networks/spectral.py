"""Networks of a body and heads: masks, an embedding, or both."""

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
    """What the body says of the frames of mono magnitudes."""
    features: Tensor = body(log_magnitude(magnitude[:, 0]).mT)
    return features


class MaskInference(MaskNetwork):
    """A body, and a mask for each source.

    Args:
        body: layers over the frames; its ``num_features`` are the bins.
        num_sources: number of masks.
        mask_activation: ``softmax``, where masks add up to one, or ``sigmoid``.

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
    """A body, and a vector for each bin, alike for bins that belong together: the network of deep clustering.

    Args:
        body: layers over the frames; its ``num_features`` are the bins.
        embedding_size: entries of a vector.
        embedding_activation: ``sigmoid``, ``tanh`` or ``linear``; the vectors have length one after it.

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
        """The vector of each bin."""
        return self.embedding_head(_frames(self.body, magnitude))[:, None]


class Chimera(MaskNetwork, EmbeddingNetwork):
    """A body with two heads, masks and an embedding: the embedding teaches the body what belongs together.

    Args:
        body: layers over the frames; its ``num_features`` are the bins.
        num_sources: number of masks.
        embedding_size: entries of a vector.
        mask_activation: ``softmax`` or ``sigmoid``.
        embedding_activation: ``sigmoid``, ``tanh`` or ``linear``.

    Shape:
        ``(B, 1, F, N) -> (B, S, 1, F, N)``, the masks; :meth:`both` gives the embedding ``(B, 1, F, N, D)`` too.

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
        """The vector of each bin."""
        return self.embedding_head(_frames(self.body, magnitude))[:, None]

    def both(self, magnitude: Magnitude) -> tuple[Masks, Features]:
        """Masks and vectors, with one run of the body."""
        frames = _frames(self.body, magnitude)
        return self.mask_head(frames)[:, :, None], self.embedding_head(frames)[:, None]

    def forward(self, magnitude: Magnitude) -> Masks:
        """The masks."""
        return self.masks(magnitude)
