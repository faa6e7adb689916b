"""Spatial cues of multichannel mixtures: features, delay histograms, projections and Wiener filtering."""

from torchsep.functional.spatial.delay_histogram import (
    delay_weights,
    histogram_peaks,
    phase_histogram,
    phase_kernel,
    smoothed_histogram,
    steered_response,
)
from torchsep.functional.spatial.features import level_difference, spatial_features, symmetric_attenuation, unit_cross
from torchsep.functional.spatial.likelihood_masks import likelihood_masks
from torchsep.functional.spatial.locations import refine_locations
from torchsep.functional.spatial.projections import (
    fit_projections,
    location_gains,
    recombine_projections,
    source_gains,
    steering_vectors,
)
from torchsep.functional.spatial.wiener import multichannel_wiener_filter

__all__ = [
    "delay_weights",
    "fit_projections",
    "histogram_peaks",
    "level_difference",
    "likelihood_masks",
    "location_gains",
    "multichannel_wiener_filter",
    "phase_histogram",
    "phase_kernel",
    "recombine_projections",
    "refine_locations",
    "smoothed_histogram",
    "source_gains",
    "spatial_features",
    "steered_response",
    "steering_vectors",
    "symmetric_attenuation",
    "unit_cross",
]
