"""Non-negative matrix factorisation."""

from torchsep.functional.nmf.components import component_masks, mean_component_features
from torchsep.functional.nmf.nmf import (
    Factorisation,
    beta_divergence,
    concatenate_channels,
    fit_nmf,
    nmf_activations,
    split_channels,
)

__all__ = [
    "Factorisation",
    "beta_divergence",
    "component_masks",
    "concatenate_channels",
    "fit_nmf",
    "mean_component_features",
    "nmf_activations",
    "split_channels",
]
