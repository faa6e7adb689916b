"""How much of a source points in its mixture's direction."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from torchsep.functional.parts import in_parts

__all__ = ["phase_sensitive_magnitude"]


def phase_sensitive_magnitude(
    source: Complex[Tensor, "*any"], mixture: Complex[Tensor, "*any"], *, truncated: bool = True
) -> Float[Tensor, "*any"]:
    r"""What of a source's bin points in the mixture's direction, :math:`|S| \cos(\angle S - \angle X)`.

    Of all magnitudes, with the mixture's phase, it is the nearest to the source; but it may be negative, or above the
    mixture's.

    Args:
        source: :math:`S`.
        mixture: :math:`X`, with which the source broadcasts.
        truncated: whether it is brought to :math:`[0, |X|]`, so that no mask made of it amplifies.

    Gradient:
        Exact.

    Example:
        >>> source, mixture = torch.tensor([1j, -0.5, 3.0 + 1j]), torch.tensor([1.0, 1.0, 2.0 + 0j])
        >>> phase_sensitive_magnitude(source, mixture)
        tensor([0., 0., 2.])
        >>> phase_sensitive_magnitude(source, mixture, truncated=False)
        tensor([ 0.0000, -0.5000,  3.0000])

    References:
        H. Erdogan, J. R. Hershey, S. Watanabe and J. Le Roux, "Phase-sensitive and recognition-boosted speech
        separation using deep recurrent neural networks", ICASSP, 2015.
    """

    def along(source: Tensor, mixture: Tensor) -> Tensor:
        magnitude = mixture.abs()
        projected = (source * mixture.conj()).real / magnitude.masked_fill(magnitude == 0, 1.0)
        return torch.minimum(projected.clamp(min=0.0), magnitude) if truncated else projected

    return in_parts(along, source, mixture)
