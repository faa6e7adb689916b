"""Images of single-channel estimates at the channels of a mixture."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["source_images"]


def source_images(
    estimates: Float[Tensor, "*batch S E T"], mixture: Float[Tensor, "*batch C T"]
) -> Float[Tensor, "*batch S C T"]:
    r"""The image of each estimate at every channel of the mixture: how that source sounds there.

    Separators such as ``ica`` give one channel for each source. For uncorrelated sources, the gain of source :math:`s`
    at channel :math:`x_c` is that of the least-squares projection,

    .. math::
        a_c = \frac{\langle x_c, s \rangle}{\langle s, s \rangle}.

    Args:
        estimates: with one channel; returned unchanged if they have as many as the mixture.
        mixture: of which they are estimates.

    Gradient:
        Exact; zero for silent estimates.

    Raises:
        ValueError: if the estimates have neither one channel nor those of the mixture.

    Example:
        >>> left, right = torch.tensor([1.0, -1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0, -1.0])
        >>> mixture = torch.stack((left, 2 * left + right))
        >>> source_images(torch.stack((left, right))[:, None], mixture)
        tensor([[[ 1., -1.,  0.,  0.],
                 [ 2., -2.,  0.,  0.]],
        <BLANKLINE>
                [[ 0.,  0.,  0., -0.],
                 [ 0.,  0.,  1., -1.]]])

    References:
        K. Matsuoka and S. Nakashima, "Minimal distortion principle for blind source separation", ICA, 2001.
    """
    channels = mixture.shape[-2]
    if estimates.shape[-2] == channels:
        return estimates
    if estimates.shape[-2] != 1:
        raise ValueError(f"estimates must have 1 or {channels} channels, got {estimates.shape[-2]}")
    # At unit peak, so that squares neither overflow nor vanish.
    peak = estimates.detach().abs().amax(-1, keepdim=True)
    unit = estimates / torch.where(peak > 0, peak, 1.0)
    energy = unit.square().sum(-1, keepdim=True)
    gains = (mixture.unsqueeze(-3) * unit).sum(-1, keepdim=True) / torch.where(energy > 0, energy, 1.0)
    return gains * unit
