"""Classification metrics of binary masks."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["PrecisionRecall", "precision_recall"]


class PrecisionRecall(NamedTuple):
    """Precision, recall, F-score and accuracy of masks, each ``(...)``."""

    precision: Float[Tensor, "*any"]
    recall: Float[Tensor, "*any"]
    f_score: Float[Tensor, "*any"]
    accuracy: Float[Tensor, "*any"]


def precision_recall(
    estimates: Float[Tensor, "*any F N"], sources: Float[Tensor, "*any F N"], threshold: float = 0.5
) -> PrecisionRecall:
    r"""Precision, recall, F-score and accuracy of the bins that masks assign to a source.

    With true positives :math:`t`, false positives :math:`f` and false negatives :math:`m`, they are
    :math:`t / (t + f)`, :math:`t / (t + m)`, :math:`2 t / (2 t + f + m)`, and the proportion of correct bins.

    Args:
        estimates: estimated masks, such as those of ``final_masks`` of a separator.
        sources: true masks, such as those of ``ideal_binary_mask``.
        threshold: above which a bin belongs to a source, in both.

    Shape:
        ``(..., F, N) x 2 -> (...)``. NaN where a ratio is undefined: the precision if no bin was assigned, the recall
        if none should have been.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> found = precision_recall(torch.tensor([[1.0, 1.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.0, 1.0, 0.0]]))
        >>> [value.item() for value in found]
        [0.5, 0.5, 0.5, 0.5]
    """
    if estimates.shape != sources.shape:
        wanted = tuple(sources.shape)
        raise ValueError(f"estimates must have the shape of sources, {wanted}, got {tuple(estimates.shape)}")
    found, true = estimates > threshold, sources > threshold
    hits, assigned, wanted_bins, correct = (
        bins.sum((-2, -1), dtype=torch.float64) for bins in (found & true, found, true, found == true)
    )
    ratios = (
        hits / assigned,
        hits / wanted_bins,
        2 * hits / (assigned + wanted_bins),
        correct / (found.shape[-1] * found.shape[-2]),
    )
    return PrecisionRecall(*(ratio.float() for ratio in ratios))
