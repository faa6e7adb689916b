"""Median, rank, maximum, minimum and box filters along one axis, and harmonic-percussive masks."""

from torchsep.functional.filters.box_filter import box_filter
from torchsep.functional.filters.harmonic_percussive import hpss_masks
from torchsep.functional.filters.padding import pad
from torchsep.functional.filters.rank_filter import maximum_filter, median_filter, minimum_filter, rank_filter

__all__ = [
    "box_filter",
    "hpss_masks",
    "maximum_filter",
    "median_filter",
    "minimum_filter",
    "pad",
    "rank_filter",
]
