"""Box filter (moving average) along one axis."""

from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_integer
from torchsep.functional.filters.padding import check_values, pad

__all__ = ["box_filter"]


def box_filter(
    x: Float[Tensor, "*any"], size: int, dim: int = -1, mode: str = "reflect", cval: float = 0.0
) -> Float[Tensor, "*any"]:
    """The mean of each element and its neighbours along one axis; arguments as for :func:`median_filter`.

    Sums of 2, 4, 8, ... neighbours are built from one another in logarithmic time. Unlike in a running sum, rounding
    errors do not accumulate.

    Example:
        >>> box_filter(torch.tensor([0.0, 3.0, 6.0, 0.0]), 3)
        tensor([1., 3., 3., 2.])
    """
    check_integer(size, "size", at_least=1)
    check_values(x, dim)
    length = x.shape[dim]
    power = pad(x, size // 2, (size - 1) // 2, dim, mode, cval)
    total: Tensor | None = None
    reach = 0  # elements in total so far
    for bit in range(size.bit_length()):
        if size >> bit & 1:
            part = power.narrow(dim, reach, length)
            total = part if total is None else total + part
            reach += 1 << bit
        if size >> (bit + 1):
            half = 1 << bit
            width = power.shape[dim] - half
            power = power.narrow(dim, 0, width) + power.narrow(dim, half, width)
    return x if total is None else total / size
