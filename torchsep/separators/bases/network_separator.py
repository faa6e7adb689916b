"""What separators that are built around a network have in common."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchsep.functional.assignment import best_permutation
from torchsep.functional.magnitude import magnitude, rms
from torchsep.networks import Network
from torchsep.transforms import STFT
from torchsep.typing import Spectrogram

__all__ = ["called", "channels_of", "check_bins", "normalized_magnitude", "per_channel", "same_order"]


def channels_of(network: Network) -> int | None:
    """The channels that a mixture must have for a network: any for one that hears one at a time."""
    return None if network.channels == 1 else network.channels


def check_bins(num_bins: int, stft: STFT) -> None:
    """Raise unless a network is made for the bins of a front end."""
    if num_bins != stft.num_bins:
        raise ValueError(f"stft must have the {num_bins} bins of the network, got {stft.num_bins} of {stft!r}")


def normalized_magnitude(spectrogram: Spectrogram) -> Float[Tensor, "B C F N"]:
    """The magnitudes of each item at a root mean square of one over all its channels."""
    values = magnitude(spectrogram)
    return values / rms(values)


def per_channel(network: Network, method: str, mixture: Tensor, axis: int = 2) -> Tensor:
    """What a network makes of all channels: together, or of each as if it were alone.

    A network computes in its own precision, one in half precision in single, and the result is as precise as the
    mixture.

    Args:
        network: tells how many channels it looks at together.
        method: of the network, that takes ``(B, C, ...)``.
        mixture: ``(B, C, ...)``.
        axis: of the channels in the result.
    """
    together = network.channels == mixture.shape[1]
    result = called(network, method, mixture if together else mixture.flatten(0, 1)[:, None]).to(mixture.dtype)
    return result if together else result.squeeze(axis).unflatten(0, mixture.shape[:2]).movedim(1, axis)


class _Method(nn.Module):
    """A method of a network as the call of a module."""

    def __init__(self, network: Network, method: str) -> None:
        super().__init__()
        self.network = network
        self.method = method

    def forward(self, mixture: Tensor) -> Any:
        return getattr(self.network, self.method)(mixture)


def called(network: Network, method: str, mixture: Tensor) -> Any:
    """What a method of a network makes of a mixture, in the precision of the network, but at least in single."""
    dtype = next((tensor.dtype for tensor in network.parameters() if tensor.is_floating_point()), mixture.dtype)
    if dtype.itemsize >= 4:
        return getattr(network, method)(mixture.to(dtype))
    module = _Method(network, method)
    single = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    }
    return torch.func.functional_call(module, single, (mixture.float(),))


def same_order(estimates: Float[Tensor, "B S C *any"], heard: Float[Tensor, "B S C *any"]) -> Tensor:
    """The sources of all channels in the order of the first channel's, where a network gave each its own.

    Args:
        estimates: to put in order.
        heard: by what they are compared, of the same shape.

    Gradient:
        Exact; the order is held.

    Example:
        >>> estimates = torch.tensor([[[[1.0, 0.0], [0.0, 3.0]], [[0.0, 1.0], [3.0, 0.0]]]])
        >>> same_order(estimates, estimates)[0, :, 1]
        tensor([[3., 0.],
                [0., 3.]])
    """
    channels = estimates.shape[2]
    each = heard.transpose(1, 2)
    order = best_permutation(each[:, :1].expand_as(each).flatten(0, 1), each.flatten(0, 1)).unflatten(0, (-1, channels))
    index = order.mT.reshape(*estimates.shape[:3], *[1] * (estimates.dim() - 3)).expand_as(estimates)
    return estimates.gather(1, index)
