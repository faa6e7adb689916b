"""U-Net: a convolutional encoder-decoder with skip connections that estimates masks."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchsep.checks import check_choice, check_integer, check_number
from torchsep.functional.magnitude import log_magnitude
from torchsep.networks.network import Magnitude, MaskNetwork
from torchsep.typing import Masks

__all__ = ["UNet"]

NORMS = ("batch", "instance")
MASK_ACTIVATIONS = ("sigmoid", "softmax")

Image = Float[Tensor, "B K F N"]


class InstanceNorm(nn.Module):
    """Instance normalisation of images, also of a single pixel, with a learned affine map."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_features, 1, 1))
        self.bias = nn.Parameter(torch.zeros(num_features, 1, 1))

    def forward(self, image: Image) -> Image:
        """The normalised features."""
        return torch.addcmul(self.bias, nn.functional.layer_norm(image, image.shape[2:]), self.weight)


class UNet(MaskNetwork):
    r"""U-Net: a convolutional encoder-decoder with skip connections on the log-magnitude spectrogram.

    Each encoder layer halves bins and frames and doubles the features, which gives a large context in time and
    frequency. Skip connections to the decoder layer of the same size preserve detail. Suited to little training data,
    and to streaming, since its receptive field is bounded.

    Args:
        num_bins: number ``F`` of frequency bins.
        num_sources: number ``S`` of masks.
        channels: number of channels of the mixture, which are processed jointly and have separate masks.
        num_features: number of features after the first encoder layer.
        depth: number of encoder layers, and of decoder layers.
        kernel_size: kernel size in bins and frames, an odd number of at least 3.
        norm: normalisation after each layer: ``batch``; ``instance``, over the whole spectrogram; or None.
        dropout: dropout probability of whole features in the first three decoder layers, from 0 to below 1.
        mask_activation: ``sigmoid``, or ``softmax`` over the sources, for masks that sum to one.

    Shape:
        ``(B, C, F, N) -> (B, S, C, F, N)``.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> network = UNet(num_bins=9, num_features=4, depth=2)
        >>> network(torch.ones(3, 1, 9, 7)).shape, network.receptive_field, network.latency
        (torch.Size([3, 2, 1, 9, 7]), 25, 12)

    References:
        A. Jansson, E. Humphrey, N. Montecchio, R. Bittner, A. Kumar and T. Weyde, "Singing voice separation with deep
        U-Net convolutional networks", ISMIR, 2017.
    """

    def __init__(
        self,
        num_bins: int,
        num_sources: int = 2,
        *,
        channels: int = 1,
        num_features: int = 16,
        depth: int = 6,
        kernel_size: int = 5,
        norm: str | None = "batch",
        dropout: float = 0.5,
        mask_activation: str = "sigmoid",
    ) -> None:
        super().__init__()
        check_integer(num_bins, "num_bins", at_least=1)
        check_integer(num_sources, "num_sources", at_least=1)
        check_integer(channels, "channels", at_least=1)
        check_integer(num_features, "num_features", at_least=1)
        check_integer(depth, "depth", at_least=1)
        check_integer(kernel_size, "kernel_size", at_least=3)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        if norm is not None:
            check_choice(norm, NORMS, "norm")
        check_number(dropout, "dropout", at_least=0.0)
        if dropout >= 1:
            raise ValueError(f"dropout must be below 1, got {dropout}")
        check_choice(mask_activation, MASK_ACTIVATIONS, "mask_activation")
        self.num_bins = num_bins
        self.num_sources = num_sources
        self.channels = channels
        self.num_features = num_features
        self.depth = depth
        self.kernel_size = kernel_size
        self.norm = norm
        self.dropout = dropout
        self.mask_activation = mask_activation
        self.normalised = mask_activation == "softmax"

        sizes = [num_features * 2**step for step in range(depth)]
        self.down = nn.ModuleList(
            self._step(nn.Conv2d, before, after, nn.LeakyReLU(0.2))
            for before, after in zip([channels, *sizes[:-1]], sizes, strict=True)
        )
        self.up = nn.ModuleList(
            self._step(
                nn.ConvTranspose2d,
                sizes[step] * (1 if step == depth - 1 else 2),
                sizes[step - 1],
                nn.ReLU(),
                dropout=dropout if step >= depth - 3 else 0.0,
            )
            for step in range(depth - 1, 0, -1)
        )
        last = sizes[0] * (1 if depth == 1 else 2)
        self.mask_head = nn.ConvTranspose2d(last, num_sources * channels, kernel_size, 2, kernel_size // 2, 1)

    @property
    def receptive_field(self) -> int | None:
        """In frames; None (unbounded) with ``norm="instance"``."""
        if self.norm == "instance":
            return None
        return max(after - before + 1 for _, before, after in self._reaches())

    @property
    def latency(self) -> int | None:
        """In frames; None (unbounded) with ``norm="instance"``."""
        if self.norm == "instance":
            return None
        return max(after - frame for frame, _, after in self._reaches())

    def masks(self, magnitude: Magnitude) -> Masks:
        """The mask of each source."""
        image = log_magnitude(magnitude) + 3.0  # zero for silence, consistent with zero padding
        images = []
        for down in self.down:
            images.append(image)
            image = down(image)
        for up, target in zip(self.up, images[:0:-1], strict=True):
            rows, columns = target.shape[-2:]
            image = torch.cat((up(image)[..., :rows, :columns], target), 1)
        values = self.mask_head(image)[..., : magnitude.shape[-2], : magnitude.shape[-1]]
        values = values.unflatten(1, (self.num_sources, self.channels))
        return values.softmax(1) if self.normalised else values.sigmoid()

    def _step(
        self, convolution: type[nn.Module], before: int, after: int, activation: nn.Module, *, dropout: float = 0.0
    ) -> nn.Sequential:
        """A convolution that halves the size, rounded up, or doubles it; a normalisation; an activation."""
        sizes: dict[str, Any] = {"kernel_size": self.kernel_size, "stride": 2, "padding": self.kernel_size // 2}
        if convolution is nn.ConvTranspose2d:
            sizes["output_padding"] = 1
        layers = [convolution(before, after, bias=self.norm is None, **sizes)]
        if self.norm is not None:
            layers.append(nn.BatchNorm2d(after) if self.norm == "batch" else InstanceNorm(after))
        layers.append(activation)
        if dropout:
            layers.append(nn.Dropout2d(dropout))
        return nn.Sequential(*layers)

    def _reaches(self) -> list[tuple[int, int, int]]:
        """Each frame of one period of strides, with the first and the last frame that its masks depend on.

        The path through the lowest layer has the largest range. A decoder layer computes frame ``n`` from frames around
        ``n / 2``, within half a kernel; an encoder layer from frames around ``2 n``.
        """
        half = self.kernel_size // 2
        reaches = []
        for frame in range(2**self.depth):
            before = after = frame
            for _ in range(self.depth):
                before, after = -((half - before) // 2), (after + half) // 2
            for _ in range(self.depth):
                before, after = 2 * before - half, 2 * after + half
            reaches.append((frame, before, after))
        return reaches
