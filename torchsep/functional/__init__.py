"""Ingredients that more than one algorithm uses: pure functions of tensors with any leading axes."""

from torchsep.functional.filtering import (
    box_filter,
    maximum_filter,
    median_filter,
    minimum_filter,
    pad,
    rank_filter,
)
from torchsep.functional.gaussian_mixture import (
    GaussianMixture,
    fit_gaussian_mixture,
    log_likelihood,
    responsibilities,
)
from torchsep.functional.kmeans import KMeans, kmeans, minibatch_kmeans, soft_assignment, soft_kmeans
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
from torchsep.functional.permutation import optimal_assignment, order_like
from torchsep.functional.similarity import median_of_frames, similar_frames

__all__ = [
    "GaussianMixture",
    "KMeans",
    "autocorrelation",
    "background_share",
    "binary_masks",
    "box_filter",
    "fit_gaussian_mixture",
    "kmeans",
    "log_likelihood",
    "magnitude",
    "maximum_filter",
    "median_filter",
    "median_of_frames",
    "minibatch_kmeans",
    "minimum_filter",
    "optimal_assignment",
    "order_like",
    "pad",
    "periodic_median",
    "rank_filter",
    "ratio_masks",
    "responsibilities",
    "similar_frames",
    "soft_assignment",
    "soft_kmeans",
    "soft_mask",
    "stack_masks",
    "with_complement",
]
