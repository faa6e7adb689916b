"""Rows of the benchmark for functions: filters, NMF, k-means and BSS Eval."""

from functools import partial

import peer_models
import peers
import scipy.ndimage
from row_parts import (
    FRONT_END,
    STEREO,
    Row,
    bss_eval,
    estimates_and_sources,
    factorisation,
    kmeans_inertia,
    magnitude,
    many_points,
    nmf,
    spectrogram,
    waveform_to_transform,
)

from torchsep.functional import hpss_masks, maximum_filter, median_filter

MAGNITUDE = "magnitude spectrogram 2 x 1025 x frames"

KERNEL_ROWS = [
    Row(
        name="median_filter_time",
        problem=f"{MAGNITUDE}, 31 frames",
        prepare=magnitude,
        ours=partial(median_filter, size=31, dim=-1),
        peer=partial(scipy.ndimage.median_filter, size=(1, 1, 31), mode="reflect"),
        peer_name="scipy.ndimage.median_filter",
        peer_packages=("scipy",),
    ),
    Row(
        name="median_filter_time_by_rows",
        problem=f"{MAGNITUDE}, 31 frames",
        prepare=magnitude,
        ours=partial(median_filter, size=31, dim=-1),
        peer=partial(peers.median_filter_by_rows, size=31, axis=-1),
        peer_name="scipy.ndimage.median_filter, row by row",
        peer_packages=("scipy",),
    ),
    Row(
        name="median_filter_frequency",
        problem=f"{MAGNITUDE}, 31 bins",
        prepare=magnitude,
        ours=partial(median_filter, size=31, dim=-2),
        peer=partial(scipy.ndimage.median_filter, size=(1, 31, 1), mode="reflect"),
        peer_name="scipy.ndimage.median_filter",
        peer_packages=("scipy",),
    ),
    Row(
        name="median_filter_frequency_by_rows",
        problem=f"{MAGNITUDE}, 31 bins",
        prepare=magnitude,
        ours=partial(median_filter, size=31, dim=-2),
        peer=partial(peers.median_filter_by_rows, size=31, axis=-2),
        peer_name="scipy.ndimage.median_filter, row by row",
        peer_packages=("scipy",),
    ),
    Row(
        name="maximum_filter_time",
        problem=f"{MAGNITUDE}, 31 frames",
        prepare=magnitude,
        ours=partial(maximum_filter, size=31, dim=-1),
        peer=partial(scipy.ndimage.maximum_filter, size=(1, 1, 31), mode="reflect"),
        peer_name="scipy.ndimage.maximum_filter",
        peer_packages=("scipy",),
    ),
    Row(
        name="maximum_filter_frequency",
        problem=f"{MAGNITUDE}, 31 bins",
        prepare=magnitude,
        ours=partial(maximum_filter, size=31, dim=-2),
        peer=partial(scipy.ndimage.maximum_filter, size=(1, 31, 1), mode="reflect"),
        peer_name="scipy.ndimage.maximum_filter",
        peer_packages=("scipy",),
    ),
    Row(
        name="stft",
        problem=STEREO,
        prepare=waveform_to_transform,
        ours=FRONT_END,
        peer=peers.stft,
        peer_name="librosa.stft",
    ),
    Row(
        name="stft_inverse",
        problem=STEREO,
        prepare=spectrogram,
        ours=FRONT_END.inverse,
        peer=peers.inverse,
        peer_name="librosa.istft",
    ),
    Row(
        name="hpss_masks",
        problem=f"{MAGNITUDE}, kernel 31",
        prepare=magnitude,
        ours=hpss_masks,
        peer=peers.hpss_masks,
        peer_name="librosa.decompose.hpss(mask=True)",
    ),
    Row(
        name="kmeans",
        problem="1,000,000 points of 20 features, 4 clusters, one start",
        prepare=partial(many_points, problems=1, count=1_000_000),
        ours=kmeans_inertia,
        peer=peer_models.kmeans_inertia,
        peer_name="scikit-learn KMeans",
        peer_packages=("scikit-learn",),
        is_audio=False,
        tolerance=0.3,  # initial centres differ, and so do the local minima
    ),
    Row(
        name="kmeans_batch",
        problem="64 problems of 20,000 points of 20 features, 4 clusters, one start",
        prepare=partial(many_points, problems=64, count=20_000),
        ours=kmeans_inertia,
        peer=peer_models.kmeans_inertia,
        peer_name="scikit-learn KMeans, one problem after another",
        peer_packages=("scikit-learn",),
        items=64,
        is_audio=False,
        tolerance=0.5,  # as above
    ),
    *[
        Row(
            name=f"nmf_{loss}_{size}",
            problem=f"magnitude spectrogram 1025 x frames, {size} components, 100 updates",
            prepare=partial(factorisation, n_components=size),
            ours=partial(nmf, beta_loss=loss),
            peer=partial(peer_models.nmf, beta_loss=loss),
            peer_name="sklearn.decomposition.NMF(solver='mu')",
            peer_packages=("scikit-learn",),
            tolerance=1e-2,  # after many updates in single precision
        )
        for size in (10, 50)
        for loss in ("kullback_leibler", "itakura_saito", "frobenius")
    ],
    Row(
        name="bss_eval_v4",
        problem="four sources, stereo, 44.1 kHz, frames of 1 s, filters of 512 taps",
        prepare=estimates_and_sources,
        ours=bss_eval,
        peer=peer_models.bss_eval_v4,
        peer_name="museval",
        peer_packages=("museval",),
        seconds=60.0,
    ),
]
