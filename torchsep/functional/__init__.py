"""Ingredients that more than one algorithm uses: pure functions of tensors with any leading axes."""

from torchsep.functional.filtering import (
    box_filter,
    maximum_filter,
    median_filter,
    minimum_filter,
    pad,
    rank_filter,
)
from torchsep.functional.masks import binary_masks, ratio_masks, soft_mask, stack_masks, with_complement
from torchsep.functional.parts import magnitude
from torchsep.functional.periodicity import autocorrelation, periodic_median

__all__ = [
    "autocorrelation",
    "binary_masks",
    "box_filter",
    "magnitude",
    "maximum_filter",
    "median_filter",
    "minimum_filter",
    "pad",
    "periodic_median",
    "rank_filter",
    "ratio_masks",
    "soft_mask",
    "stack_masks",
    "with_complement",
]
