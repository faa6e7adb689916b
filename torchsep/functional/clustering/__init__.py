"""Clustering: k-means, Gaussian mixtures and confidence measures."""

from torchsep.functional.clustering.confidence import (
    dpcl_classic_confidence,
    jensen_shannon_confidence,
    loudness_confidence,
    posterior_confidence,
    silhouette_confidence,
    whitened_kmeans_confidence,
)
from torchsep.functional.clustering.gaussian_mixture import (
    GaussianMixture,
    fit_gaussian_mixture,
    log_likelihood,
    responsibilities,
)
from torchsep.functional.clustering.kmeans import KMeans, kmeans, minibatch_kmeans, soft_assignment, soft_kmeans

__all__ = [
    "GaussianMixture",
    "KMeans",
    "dpcl_classic_confidence",
    "fit_gaussian_mixture",
    "jensen_shannon_confidence",
    "kmeans",
    "log_likelihood",
    "loudness_confidence",
    "minibatch_kmeans",
    "posterior_confidence",
    "responsibilities",
    "silhouette_confidence",
    "soft_assignment",
    "soft_kmeans",
    "whitened_kmeans_confidence",
]
