"""Rows of the benchmark: implementations, inputs and peers.

A row is an entry of ``ROWS``: a function that prepares the inputs of both sides for a duration, and the two callables.
"""

from functools import partial

import peer_models
import peers
from kernel_rows import KERNEL_ROWS
from row_parts import (
    CENTRES,
    CUTOFF,
    RATE,
    STEREO,
    batch_and_items,
    batch_row,
    lack_of_correlation,
    mixed_by_gains,
    mixture_and_estimates,
    mixture_and_sources,
    mono_mixture,
    one_by_one,
    separator_row,
    short_batch_row,
    unpadded_mixture,
)

from torchsep import build

BODY = {"name": "recurrent_body", "num_features": 1025, "hidden_size": 128, "num_layers": 2}
WAVEFORMS = {
    "name": "dprnn",
    "filter_bank": {"name": "stft_filter_bank", "kernel_size": 1024},
    "chunk_size": 20,
    "num_blocks": 2,
}

ROWS = [
    *KERNEL_ROWS,
    separator_row("hpss", problem=STEREO, peer=peers.hpss, peer_name="librosa.stft, decompose.hpss, istft"),
    separator_row(
        "hpss",
        name="hpss_by_rows",
        problem=STEREO,
        peer=peers.hpss_by_rows,
        peer_name="NumPy, scipy.ndimage.median_filter row by row, librosa.stft, istft",
        peer_packages=("librosa", "numpy", "scipy"),
    ),
    separator_row(
        "hpss",
        name="hpss_batch",
        problem=f"batch of 16 items, {STEREO}",
        seconds=2.0,
        items=16,
        prepare=partial(batch_and_items, items=16),
        peer=one_by_one(build("hpss", sample_rate=RATE)),
        peer_name="torchsep, item by item",
        peer_packages=("torchsep",),
    ),
    separator_row(
        "repet",
        problem=STEREO,
        peer=peers.repet,
        peer_name="NumPy, scipy.fft, librosa.stft, istft",
        peer_packages=("librosa", "numpy", "scipy"),
    ),
    separator_row(
        "repet_sim",
        problem=STEREO,
        peer=peers.repet_sim_lean,
        peer_name="NumPy frame by frame, librosa.stft, istft",
        peer_packages=("librosa", "numpy"),
    ),
    separator_row(
        "repet_sim",
        name="repet_sim_by_peaks",
        problem=STEREO,
        peer=peers.repet_sim,
        peer_name="NumPy in double precision, a search for peaks frame by frame, librosa.stft, istft",
        peer_packages=("librosa", "numpy"),
        tolerance=0.5,  # it selects other frames of nearly equal similarity
    ),
    separator_row(
        "ft2d",
        problem=STEREO,
        peer=peers.ft2d,
        peer_name="NumPy, scipy.fft, scipy.ndimage, librosa.stft, istft",
        peer_packages=("librosa", "numpy", "scipy"),
    ),
    separator_row(
        "rpca",
        problem="mono, 44.1 kHz, STFT 2048 / 512",
        prepare=mono_mixture,
        peer=peer_models.rpca,
        peer_name="NumPy, all singular values, librosa.stft, istft",
        peer_packages=("librosa", "numpy"),
    ),
    separator_row(
        "ica",
        problem="two sources mixed by gains, stereo, 44.1 kHz",
        prepare=mixed_by_gains,
        peer=peer_models.ica,
        peer_name="scikit-learn FastICA",
        peer_packages=("scikit-learn",),
        deviation=lack_of_correlation,
    ),
    separator_row(
        "wiener_filter",
        problem=f"two sources, one iteration, {STEREO}",
        prepare=mixture_and_estimates,
        peer=peer_models.wiener_filter,
        peer_name="norbert, librosa.stft, istft",
        peer_packages=("librosa", "norbert"),
        tolerance=0.1,  # norbert regularises more in single precision; both agree to 1e-3 in double
    ),
    batch_row("refine", {"separator": "hpss", "refiner": "wiener_filter"}),
    separator_row(
        "projet",
        {"num_sources": 2, "num_iterations": 20},
        problem=f"two sources, 20 iterations, {STEREO}",
        seconds=1.0,
        prepare=unpadded_mixture,
        peer=partial(peer_models.projet, num_sources=2, num_iterations=20),
        peer_name="PyTorch in double precision, fixed grids",
        peer_packages=("torch",),
        deviation=None,
    ),
    batch_row("duet", {"num_sources": 2}),
    batch_row("deep_mask_estimation", {"network": {"name": "mask_inference", "body": BODY}}),
    batch_row("deep_clustering", {"network": {"name": "embedding", "body": BODY}}),
    batch_row("deep_audio_estimation", {"network": WAVEFORMS}),
    batch_row("resampled", {"separator": {"name": "hpss", "sample_rate": 22050}}),
    batch_row("spatial_clustering"),
    batch_row("melodia"),
    batch_row("nmf"),
    batch_row("supervised_nmf", {"names": ("music", "voice")}),
    batch_row("timbre_clustering"),
    *[
        short_batch_row(separator, arguments)
        for separator, arguments in (
            ("ica", {}),
            ("spatial_clustering", {}),
            ("nmf", {}),
            ("supervised_nmf", {"names": ("music", "voice")}),
            ("timbre_clustering", {}),
            ("wiener_filter", {}),
            ("rpca", {}),
            ("duet", {"num_sources": 2}),
            ("projet", {"num_sources": 2, "num_iterations": 10}),
        )
    ],
    separator_row(
        "ensemble_clustering",
        {
            "separators": [{"name": name, "sample_rate": RATE} for name in ("hpss", "ft2d")],
            "init": CENTRES,
        },
        problem=f"hpss and ft2d, two clusters from given centres, {STEREO}",
        peer=partial(peer_models.ensemble_clustering, centres=CENTRES),
        peer_name="librosa.decompose.hpss, NumPy, SciPy, scikit-learn KMeans, librosa.stft, istft",
        peer_packages=("librosa", "numpy", "scipy", "scikit-learn"),
        tolerance=0.05,  # scikit-learn's k-means stops one update earlier
    ),
    separator_row(
        "overlap_add",
        {"separator": {"name": "mix_as_estimate", "num_sources": 2}, "window_duration": 1.0},
        problem="two copies in windows of 1 s, stereo, 44.1 kHz",
        prepare=unpadded_mixture,
        peer=partial(peer_models.in_windows, window=RATE, hop=RATE // 2, num_sources=2),
        peer_name="NumPy",
        peer_packages=("numpy",),
    ),
    separator_row(
        "high_low_pass_filter",
        {"cutoff_hz": CUTOFF},
        problem=STEREO,
        peer=partial(peers.high_low_pass_filter, cutoff_hz=CUTOFF),
        peer_name="NumPy, librosa.stft, istft",
        peer_packages=("librosa", "numpy"),
    ),
    separator_row(
        "ideal_binary_mask",
        problem=f"two sources, {STEREO}",
        prepare=mixture_and_sources,
        peer=peers.ideal_binary_mask,
        peer_name="NumPy, librosa.stft, istft",
        peer_packages=("librosa", "numpy"),
    ),
    separator_row(
        "ideal_ratio_mask",
        problem=f"two sources, phase-sensitive, {STEREO}",
        prepare=mixture_and_sources,
        peer=peers.ideal_ratio_mask,
        peer_name="NumPy, librosa.stft, istft",
        peer_packages=("librosa", "numpy"),
    ),
    separator_row(
        "mix_as_estimate",
        {"num_sources": 2},
        problem="two copies, stereo, 44.1 kHz",
        prepare=unpadded_mixture,
        peer=peer_models.mix_as_estimate,
        peer_name="NumPy",
        peer_packages=("numpy",),
    ),
]
