"""Matplotlib figures of intermediate results; matplotlib is optional."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

__all__ = ["image_figure"]


def image_figure(values: Float[Tensor, "rows columns"], axes: Mapping[str, tuple[float, float]]) -> Any:
    """A matplotlib figure of a matrix as an image, independent of any window.

    Args:
        values: matrix whose first row is at the bottom.
        axes: label and limits of the horizontal axis, then of the vertical axis.

    Raises:
        ImportError: if matplotlib is not installed.

    Example:
        >>> figure = image_figure(torch.eye(3), {"column": (0, 3), "row": (0, 3)})
        >>> figure.axes[0].get_xlabel()
        'column'
    """
    if values.dim() != 2:
        raise ValueError(f"mixture must have shape (C, T) to be plotted, got a batch of {len(values)}")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("matplotlib must be installed for plots: pip install 'torchsep[report]'") from None
    (across, bounds), (up, other) = axes.items()
    figure = Figure(layout="constrained")
    plot = figure.add_subplot()
    image = plot.imshow(values.detach().tolist(), origin="lower", aspect="auto", extent=(*bounds, *other))
    plot.set_xlabel(across)
    plot.set_ylabel(up)
    figure.colorbar(image)
    return figure
