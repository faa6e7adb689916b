"""Ingredients that more than one algorithm uses: pure functions of tensors with any leading axes."""

from torchsep.functional.cepstrum import mel_filters, mfcc, timbre
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
from torchsep.functional.linalg import eigh, inverse_square_root, singular_value_threshold, spectral_norm, svd
from torchsep.functional.low_rank import low_rank_and_sparse
from torchsep.functional.masks import (
    background_share,
    binary_masks,
    ratio_masks,
    soft_mask,
    stack_masks,
    with_complement,
)
from torchsep.functional.nmf import Factorisation, beta_divergence, fit_nmf, nmf_activations
from torchsep.functional.parts import magnitude
from torchsep.functional.periodicity import autocorrelation, periodic_median
from torchsep.functional.permutation import optimal_assignment, order_like
from torchsep.functional.phase_sensitivity import phase_sensitive_magnitude
from torchsep.functional.similarity import median_of_frames, similar_frames
from torchsep.functional.wiener import multichannel_wiener_filter

__all__ = [
    "Factorisation",
    "GaussianMixture",
    "KMeans",
    "autocorrelation",
    "background_share",
    "beta_divergence",
    "binary_masks",
    "box_filter",
    "eigh",
    "fit_gaussian_mixture",
    "fit_nmf",
    "inverse_square_root",
    "kmeans",
    "log_likelihood",
    "low_rank_and_sparse",
    "magnitude",
    "maximum_filter",
    "median_filter",
    "median_of_frames",
    "mel_filters",
    "mfcc",
    "minibatch_kmeans",
    "minimum_filter",
    "multichannel_wiener_filter",
    "nmf_activations",
    "optimal_assignment",
    "order_like",
    "pad",
    "periodic_median",
    "phase_sensitive_magnitude",
    "rank_filter",
    "ratio_masks",
    "responsibilities",
    "similar_frames",
    "singular_value_threshold",
    "soft_assignment",
    "soft_kmeans",
    "soft_mask",
    "spectral_norm",
    "stack_masks",
    "svd",
    "timbre",
    "with_complement",
]
