"""Test cases of the contract: variants of every registered separator."""

from collections.abc import Mapping
from typing import Any

from contract.case import Case, registered

__all__ = ["CASES", "SMALL", "Case", "registered"]

# Windows of 8 ms, so that short signals have several frames.
SMALL = {"sample_rate": 8000, "stft": {"name": "stft", "n_fft": 64, "hop_length": 16}}
_ENSEMBLE = {
    **SMALL,
    "separators": [
        {"name": "hpss", **SMALL, "kernel_size": 5},
        {"name": "ft2d", **SMALL, "neighborhood_size": [3, 5], "high_pass_cutoff_hz": 300.0},
    ],
}
_BODY = {"name": "recurrent_body", "num_features": 33, "hidden_size": 4, "num_layers": 1}
_GRU = {**_BODY, "kind": "gru", "norm": "instance"}
_DPRNN = {
    "name": "dprnn",
    "filter_bank": {"name": "learned_filter_bank", "num_filters": 6, "kernel_size": 8},
    "bottleneck_size": 4,
    "hidden_size": 4,
    "chunk_size": 10,
    "num_blocks": 1,
}
_CONV_TAS_NET = {
    "name": "conv_tas_net",
    "num_filters": 8,
    "kernel_size": 8,
    "bottleneck_size": 4,
    "hidden_size": 6,
    "num_layers": 2,
    "num_stacks": 1,
}
_MASKS = {"name": "mask_inference", "num_sources": 2, "body": _BODY}
_EMBEDDING = {"name": "embedding", "embedding_size": 3, "body": _BODY}
_HPSS = {**SMALL, "kernel_size": 5}
_FT2D = {**SMALL, "neighborhood_size": (3, 5), "high_pass_cutoff_hz": 300.0}
_DUET = {**SMALL, "num_sources": 2, "delay_range_samples": (-3.0, 3.0), "num_bins": (50, 51)}
_PROJET = {
    **SMALL,
    "num_sources": 2,
    "num_iterations": 3,
    "location_set_panning": 9,
    "location_set_delay": 5,
    "projection_set_panning": 4,
    "projection_set_delay": 3,
}
_RPCA = {**SMALL, "max_iter": 10, "high_pass_cutoff_hz": 300.0}
_NMF = {**SMALL, "n_components": 4, "max_iter": 10}
_SUPERVISED_NMF = {**_NMF, "names": ("first", "second", "third")}
_REFINE = {
    "sample_rate": 8000,
    "separator": {"name": "hpss", **_HPSS},
    "refiner": {"name": "wiener_filter", **SMALL},
}
_MELODIA = {**SMALL, "min_frequency_hz": 100.0, "max_frequency_hz": 600.0}
_REPET = {**SMALL, "min_period": 0.002, "high_pass_cutoff_hz": 300.0}
_REPET_SIM = {**SMALL, "min_distance_between_frames": 0.01, "high_pass_cutoff_hz": 300.0}


def _in_windows(name: str, arguments: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    return {"sample_rate": 8000, "window_duration": 0.02, "separator": {"name": name, **arguments}, **options}


CASES = [
    Case("deep_audio_estimation", {"sample_rate": 8000, "network": _DPRNN}, "default"),
    Case("deep_audio_estimation", {"sample_rate": 8000, "network": _CONV_TAS_NET, "names": ("a", "b")}, "named"),
    Case("deep_clustering", {**SMALL, "network": _EMBEDDING}, "default"),
    Case("deep_mask_estimation", {**SMALL, "network": _MASKS}, "default"),
    Case("deep_mask_estimation", {**SMALL, "network": _MASKS, "names": ("vocals", "residual")}, "named"),
    Case(
        "deep_mask_estimation",
        {**SMALL, "network": {**_MASKS, "mask_activation": "sigmoid", "body": _GRU}},
        "sigmoid",
    ),
    Case("duet", {**SMALL, "num_sources": 2}, "binary"),
    Case("duet", {**_DUET, "mask_type": "soft"}, "soft"),
    Case("duet", {**_DUET, "num_sources": 3, "p": 0.5, "q": 1.0, "mask_type": "soft"}, "several", slow=True),
    Case("ensemble_clustering", _ENSEMBLE, "soft"),
    Case("ensemble_clustering", {**_ENSEMBLE, "mask_type": "binary", "source_indices": [[0], [1]]}, "binary"),
    Case(
        "ensemble_clustering",
        {**_ENSEMBLE, "num_sources": 4, "weights": [2.0, 0.5], "percentile": 0.0},
        "four",
        slow=True,
    ),
    Case(
        "ensemble_clustering",
        {
            **_ENSEMBLE,
            "clustering_type": "minibatch_kmeans",
            "num_sources": 3,
            "clusterer": {"n_init": 2, "batch_size": 64},
        },
        "minibatch",
    ),
    Case(
        "ensemble_clustering",
        {**_ENSEMBLE, "clustering_type": "gaussian_mixture", "source_indices": [[0], [0]]},
        "mixture",
    ),
    Case(
        "ensemble_clustering",
        {**_ENSEMBLE, "extracted_feature": "estimates", "num_cascades": 2, "num_sources": 3},
        "cascade",
    ),
    Case(
        "ensemble_clustering",
        {**_ENSEMBLE, "fit_clusterer": False, "init": [[1.0, 0.0, 0.5, 0.5], [0.0, 1.0, 0.5, 0.5]]},
        "given_centres",
    ),
    Case(
        "ensemble_clustering",
        {**_ENSEMBLE, "separators": [{"name": "hpss", **SMALL, "kernel_size": 5, "trainable": ["power"]}]},
        "learned_part",
    ),
    Case("ft2d", SMALL, "default"),
    Case("ft2d", _FT2D, "local_std"),
    Case("ft2d", {**_FT2D, "filter_approach": "original", "neighborhood_size": (1, 7)}, "original"),
    Case("ft2d", {**_FT2D, "use_bg_2dft": False}, "foreground", slow=True),
    Case("ft2d", {**_FT2D, "mask_type": "binary", "mask_threshold": 0.4}, "binary", slow=True),
    Case("ft2d", {**_FT2D, "quadrants_to_keep": (0, 3), "neighborhood_size": (1, 4)}, "quadrants"),
    Case("high_low_pass_filter", {**SMALL, "cutoff_hz": 700.0}, "binary"),
    Case("high_low_pass_filter", {**SMALL, "cutoff_hz": 700.0, "mask_type": "soft"}, "soft"),
    Case(
        "high_low_pass_filter",
        {**SMALL, "cutoff_hz": 1900.0, "mask_type": "soft", "trainable": ("cutoff_hz",)},
        "soft_trainable",
    ),
    Case("high_low_pass_filter", {**SMALL, "cutoff_hz": 700.0, "trainable": ("cutoff_hz",)}, "binary_trainable"),
    Case("hpss", _HPSS, "soft"),
    Case("hpss", {**_HPSS, "mask_type": "binary", "mask_threshold": 0.4}, "binary"),
    Case("hpss", {**_HPSS, "kernel_size": (5, 4), "power": 1.0, "margin": (1.5, 2.0)}, "residual"),
    Case("hpss", {**_HPSS, "margin": 1.5, "mask_type": "binary"}, "residual_binary", slow=True),
    Case("hpss", {**_HPSS, "power": 1.5, "margin": (1.5, 2.0), "trainable": ("power", "margin")}, "trainable"),
    Case("ica", {"sample_rate": 8000}, "parallel", source_per_channel=True, min_channels=2),
    Case(
        "ica",
        {"sample_rate": 8000, "algorithm": "deflation", "max_iter": 50},
        "deflation",
        source_per_channel=True,
        min_channels=2,
    ),
    Case("ica", {"sample_rate": 8000, "fun": "exp"}, "exp", source_per_channel=True, min_channels=2, slow=True),
    Case(
        "ica",
        {"sample_rate": 8000, "fun": "cube", "seed": 1},
        "cube",
        source_per_channel=True,
        min_channels=2,
        slow=True,
    ),
    Case("ideal_binary_mask", SMALL, "binary"),
    Case("ideal_binary_mask", {**SMALL, "mask_type": "soft"}, "soft"),
    Case("ideal_binary_mask", {**SMALL, "mask_threshold": 0.3}, "two_sources", num_sources=2),
    Case("ideal_ratio_mask", SMALL, "psa"),
    Case("ideal_ratio_mask", {**SMALL, "approach": "msa"}, "msa"),
    Case("ideal_ratio_mask", {**SMALL, "mask_type": "binary"}, "binary", num_sources=2),
    Case("melodia", _MELODIA, "default"),
    Case("melodia", {**_MELODIA, "mask_type": "binary"}, "binary", slow=True),
    Case(
        "melodia",
        {
            **SMALL,
            "add_lower_octave": True,
            "apply_vowel_filter": True,
            "voicing_tolerance": 1.0,
            "compression": 0.5,
            "high_pass_cutoff_hz": 300.0,
        },
        "lower_octave_vowel",
        slow=True,
    ),
    Case("mix_as_estimate", {"sample_rate": 8000, "num_sources": 4}),
    Case("nmf", {**_NMF, "tol": 0.0}, "kullback_leibler"),
    Case("nmf", {**_NMF, "beta_loss": "itakura_saito", "spectrum": "power"}, "itakura_saito"),
    Case("nmf", {**_NMF, "beta_loss": "frobenius", "alpha": 0.01, "l1_ratio": 0.5, "num_sources": 3}, "frobenius"),
    Case("nmf", {**_NMF, "beta_loss": 0.5, "mask_type": "binary"}, "binary", slow=True),
    Case("overlap_add", _in_windows("hpss", _HPSS), "hpss"),
    Case("overlap_add", _in_windows("hpss", _HPSS, find_permutation=True, batch_size=3), "permutation"),
    Case("overlap_add", _in_windows("hpss", _HPSS, hop_duration=0.02), "hop_is_window", slow=True),
    Case("overlap_add", _in_windows("hpss", {**_HPSS, "power": 1.5, "trainable": ("power",)}), "trainable"),
    Case("overlap_add", _in_windows("mix_as_estimate", {"num_sources": 4}), "mix"),
    Case("overlap_add", _in_windows("ideal_ratio_mask", SMALL), "oracle"),
    Case("overlap_add", _in_windows("repet", _REPET), "repet", min_length=49),
    Case("projet", _PROJET, "default"),
    Case(
        "projet", {**_PROJET, "num_sources": 3, "max_delay_samples": 0, "beta": 0.5, "alpha": 1.5}, "panning", slow=True
    ),
    Case("projet", {**_PROJET, "beta": 2.0, "num_iterations": 2}, "euclidean"),
    Case("refine", _REFINE, "hpss"),
    Case("refine", {**_REFINE, "separator": {"name": "ideal_ratio_mask", **SMALL}}, "oracle"),
    Case("repet", _REPET, "soft", min_length=49),
    Case("repet", {**_REPET, "mask_type": "binary"}, "binary", min_length=49, slow=True),
    Case("repet", {**_REPET, "period": 0.006}, "fixed_period", min_length=33),
    Case("repet_sim", _REPET_SIM, "soft"),
    Case("repet_sim", {**_REPET_SIM, "mask_type": "binary"}, "binary", slow=True),
    Case("repet_sim", {**_REPET_SIM, "similarity_threshold": 0.8, "max_repeating_frames": 3}, "threshold"),
    Case("resampled", {"separator": {"name": "hpss", **_HPSS, "sample_rate": 4000}, "sample_rate": 8000}, "half"),
    Case(
        "resampled",
        {"separator": {"name": "hpss", **_HPSS, "sample_rate": 4000}, "high_band": "share", "sample_rate": 8000},
        "share",
    ),
    Case("rpca", {**SMALL, "max_iter": 20}, "default"),
    Case("rpca", _RPCA, "soft"),
    Case("rpca", {**_RPCA, "mask_type": "binary", "mask_threshold": 0.4}, "binary", slow=True),
    Case("rpca", {**_RPCA, "gain": 1.5, "trainable": ("gain",)}, "trainable"),
    Case("spatial_clustering", SMALL, "soft", min_channels=2),
    Case("spatial_clustering", {**SMALL, "num_sources": 3, "mask_type": "binary"}, "binary", min_channels=2, slow=True),
    Case(
        "spatial_clustering",
        {**SMALL, "clustering_type": "gaussian_mixture", "percentile": 50.0},
        "gaussian_mixture",
        min_channels=2,
        slow=True,
    ),
    Case("supervised_nmf", _SUPERVISED_NMF, "kullback_leibler"),
    Case("supervised_nmf", {**_SUPERVISED_NMF, "beta_loss": "itakura_saito", "spectrum": "power"}, "itakura_saito"),
    Case("supervised_nmf", {**_SUPERVISED_NMF, "alpha": 0.01, "l1_ratio": 0.5, "mask_type": "binary"}, "binary"),
    Case("timbre_clustering", _NMF, "soft"),
    Case("timbre_clustering", {**_NMF, "num_sources": 3, "mask_type": "binary"}, "binary", slow=True),
    Case(
        "timbre_clustering",
        {**_NMF, "clustering_type": "gaussian_mixture", "covariance_type": "diag", "n_mfcc": 3},
        "gaussian_mixture",
    ),
    Case("wiener_filter", SMALL, "one_iteration"),
    Case("wiener_filter", {**SMALL, "num_iterations": 3}, "three_iterations"),
    Case("wiener_filter", {**SMALL, "mask_type": "binary"}, "binary"),
]
