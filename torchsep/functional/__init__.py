"""Ingredients that more than one algorithm uses: pure functions of tensors with any leading axes."""

from torchsep.functional.filtering import (
    box_filter,
    maximum_filter,
    median_filter,
    minimum_filter,
    pad,
    rank_filter,
)
from torchsep.functional.masks import (
    background_share,
    binary_masks,
    ratio_masks,
    soft_mask,
    stack_masks,
    with_complement,
)
from torchsep.functional.parts import magnitude
from torchsep.functional.periodicity import autocorrelation, periodic_median
from torchsep.functional.similarity import median_of_frames, similar_frames

__all__ = [
    "autocorrelation",
    "background_share",
    "binary_masks",
    "box_filter",
    "magnitude",
    "maximum_filter",
    "median_filter",
    "median_of_frames",
    "minimum_filter",
    "pad",
    "periodic_median",
    "rank_filter",
    "ratio_masks",
    "similar_frames",
    "soft_mask",
    "stack_masks",
    "with_complement",
]
