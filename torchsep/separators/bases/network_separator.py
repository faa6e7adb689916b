"""Functions shared by the separators that run a network: normalisation, precision and channel alignment."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchsep.functional.assignment import best_permutation
from torchsep.functional.magnitude import magnitude, rms
from torchsep.networks import Network
from torchsep.transforms import STFT
from torchsep.typing import Spectrogram

__all__ = [
    "align_channels",
    "apply_per_channel",
    "call_in_own_precision",
    "channels_of",
    "check_bins",
    "normalized_magnitude",
]


def channels_of(network: Network) -> int | None:
    """The number of channels that a network requires; None, for any number, if it processes channels separately."""
    return None if network.channels == 1 else network.channels


def check_bins(num_bins: int, stft: STFT) -> None:
    """Raise unless a network and a front end have the same number of bins."""
    if num_bins != stft.num_bins:
        raise ValueError(f"stft must have the {num_bins} bins of the network, got {stft.num_bins} of {stft!r}")


def normalized_magnitude(spectrogram: Spectrogram) -> Float[Tensor, "B C F N"]:
    """The magnitude spectrogram of each item, normalised to unit RMS over all its channels."""
    values = magnitude(spectrogram)
    return values / rms(values)


def apply_per_channel(network: Network, method: str, mixture: Tensor, axis: int = 2) -> Tensor:
    """The output of a network for all channels jointly, or for each channel separately if it takes mono input.

    The network computes in its own precision, at least single; the result has the dtype of the mixture.

    Args:
        network: network, with the number of channels that it processes jointly.
        method: name of the network's method, which takes ``(B, C, ...)``.
        mixture: ``(B, C, ...)``.
        axis: channel axis of the result.
    """
    jointly = network.channels == mixture.shape[1]
    inputs = mixture if jointly else mixture.flatten(0, 1)[:, None]
    result = call_in_own_precision(network, method, inputs).to(mixture.dtype)
    return result if jointly else result.squeeze(axis).unflatten(0, mixture.shape[:2]).movedim(1, axis)


class _Method(nn.Module):
    """A method of a network as a module, for ``functional_call``."""

    def __init__(self, network: Network, method: str) -> None:
        super().__init__()
        self.network = network
        self.method = method

    def forward(self, mixture: Tensor) -> Any:
        return getattr(self.network, self.method)(mixture)


def call_in_own_precision(network: Network, method: str, mixture: Tensor) -> Any:
    """The output of a network's method, computed in the precision of the network, at least single."""
    dtype = next((tensor.dtype for tensor in network.parameters() if tensor.is_floating_point()), mixture.dtype)
    if dtype.itemsize >= 4:
        return getattr(network, method)(mixture.to(dtype))
    module = _Method(network, method)
    single = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    }
    return torch.func.functional_call(module, single, (mixture.float(),))


def align_channels(estimates: Float[Tensor, "B S C *any"], compared: Float[Tensor, "B S C *any"]) -> Tensor:
    """The estimates with the sources of every channel permuted to the order of the first channel.

    Args:
        estimates: estimates whose source order may differ between channels.
        compared: tensors of the same shape, by whose correlation the permutation is found.

    Gradient:
        Exact, with the permutation treated as constant.

    Example:
        >>> estimates = torch.tensor([[[[1.0, 0.0], [0.0, 3.0]], [[0.0, 1.0], [3.0, 0.0]]]])
        >>> align_channels(estimates, estimates)[0, :, 1]
        tensor([[3., 0.],
                [0., 3.]])
    """
    channels = estimates.shape[2]
    each = compared.transpose(1, 2)
    order = best_permutation(each[:, :1].expand_as(each).flatten(0, 1), each.flatten(0, 1)).unflatten(0, (-1, channels))
    index = order.mT.reshape(*estimates.shape[:3], *[1] * (estimates.dim() - 3)).expand_as(estimates)
    return estimates.gather(1, index)
