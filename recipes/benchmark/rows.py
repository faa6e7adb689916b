"""Rows of the benchmark: implementations, inputs and peers.

A row is an entry of ``ROWS``: a function that prepares the inputs of both sides for a duration, and the two callables.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import numpy as np
import peers
import scipy.ndimage
import torch
from torch import Tensor

from torchsep import STFT, Separator, build
from torchsep.data import music_and_voice
from torchsep.functional import fit_nmf, hpss_masks, kmeans, maximum_filter, median_filter
from torchsep.metrics import bss_eval_v4

RATE = peers.SAMPLE_RATE
FRONT_END = STFT(n_fft=peers.N_FFT, hop_length=peers.HOP_LENGTH)
CUTOFF = 1000.0
CENTRES = [[0.9, 0.1, 0.6, 0.4], [0.2, 0.8, 0.4, 0.6]]


@dataclass(frozen=True)
class Inputs:
    """Inputs of both sides: the same signal in the layout of each side, with further arguments."""

    ours: tuple[Any, ...]
    peer: tuple[Any, ...]
    keywords: Mapping[str, Tensor] = field(default_factory=dict)  # for ours


def largest_deviation(ours: Any, peer: Any) -> float:
    """Maximum absolute difference relative to the peer's maximum magnitude."""
    ours, peer = _one_array(ours), _one_array(peer)
    if ours.shape != peer.shape:
        raise ValueError(f"results must have the same shape, got {ours.shape} and {peer.shape}")
    largest = np.abs(peer).max()
    return float(np.abs(ours - peer).max() / (largest if largest > 0 else 1.0))


def _one_array(result: Any) -> np.ndarray:
    if isinstance(result, (list, tuple)):
        return np.stack([_one_array(part) for part in result])
    return result.cpu().numpy() if isinstance(result, Tensor) else np.asarray(result)


@dataclass(frozen=True)
class Row:
    """A comparison of torchsep with a peer.

    ``prepare`` creates the inputs for a duration; ``ours`` takes tensors, ``peer`` arrays. Both return an array or a
    sequence of arrays. ``seconds`` is the duration of an item, and ``items`` the number of items. If both compute the
    same result, the deviation is below the tolerance.
    """

    name: str
    problem: str
    prepare: Callable[[float], Inputs]
    ours: Callable[..., Any]
    peer: Callable[..., Any] | None = None
    peer_name: str = ""
    peer_packages: tuple[str, ...] = ("librosa",)
    seconds: float = 15.0
    items: int = 1
    deviation: Callable[[Any, Any], float] | None = largest_deviation  # None if results differ by design
    tolerance: float = 1e-4
    is_audio: bool = True
    separator: str | None = None  # registered name, for rows of separators


@lru_cache(maxsize=1)
def scene(seconds: float, sample_rate: int = RATE) -> Tensor:
    """Music and voice, ``(2 sources, 2 channels, T)``."""
    return torch.stack(list(music_and_voice(seconds, sample_rate=sample_rate).values()))


def mixture(seconds: float) -> Inputs:
    waveform = scene(seconds).sum(0)
    return Inputs((waveform,), (peers.padded(waveform.numpy()), waveform.shape[-1]))


def unpadded_mixture(seconds: float) -> Inputs:
    waveform = scene(seconds).sum(0)
    return Inputs((waveform,), (waveform.numpy(),))


def mixture_and_sources(seconds: float) -> Inputs:
    sources = scene(seconds)
    waveform = sources.sum(0)
    arrays = peers.padded(waveform.numpy()), peers.padded(sources.numpy())
    return Inputs((waveform,), (*arrays, waveform.shape[-1]), {"sources": sources})


def mixture_and_estimates(seconds: float) -> Inputs:
    """Mixture and estimates, which are the sources with 10 % of the other source mixed in."""
    sources = scene(seconds)
    waveform, estimates = sources.sum(0), 0.9 * sources + 0.1 * sources.flip(0)
    arrays = peers.padded(waveform.numpy()), peers.padded(estimates.numpy())
    return Inputs((waveform,), (*arrays, waveform.shape[-1]), {"estimates": estimates})


def waveform_to_transform(seconds: float) -> Inputs:
    inputs = mixture(seconds)
    return Inputs(inputs.ours, inputs.peer[:1])


def spectrogram(seconds: float) -> Inputs:
    waveform = scene(seconds).sum(0)
    # Each side receives the memory layout that it would have computed itself.
    own, other = FRONT_END(waveform), peers.stft(peers.padded(waveform.numpy()))
    return Inputs((own, waveform.shape[-1]), (other, waveform.shape[-1]))


def magnitude(seconds: float) -> Inputs:
    values = FRONT_END(scene(seconds).sum(0)).abs().contiguous()
    return Inputs((values,), (values.numpy(),))


def batch_and_items(seconds: float, items: int, *, sample_rate: int = RATE, required: tuple[str, ...] = ()) -> Inputs:
    """Mixtures, and the sources for each required tensor."""
    sources = scene(seconds, sample_rate)
    batch = torch.stack([sources.roll(1000 * number, -1) for number in range(items)])
    mixtures = batch.sum(1)
    return Inputs((mixtures,), (mixtures, *(batch for _ in required)), dict.fromkeys(required, batch))


def many_points(seconds: float, problems: int, count: int) -> Inputs:
    """Clustering problems with four overlapping clusters; the number of points is proportional to the duration."""
    generator = torch.Generator().manual_seed(0)
    count = max(100, round(count * seconds / Row.seconds))
    centres = 2.0 * torch.randn(problems, 4, 20, generator=generator)
    points = centres.repeat(1, -(-count // 4), 1)[:, :count] + torch.randn(problems, count, 20, generator=generator)
    return Inputs((points,), (points.numpy(),))


def mono_mixture(seconds: float) -> Inputs:
    waveform = scene(seconds).sum(0)[:1]
    return Inputs((waveform,), (peers.padded(waveform.numpy()), waveform.shape[-1]))


def mixed_by_gains(seconds: float) -> Inputs:
    """Instantaneous stereo mixture of two single-channel sources."""
    music, voice = scene(seconds)[:, 0]
    waveform = torch.stack((music + 0.6 * voice, 0.5 * music - voice))
    return Inputs((waveform,), (waveform.numpy(),))


def lack_of_correlation(ours: Any, peer: Any) -> float:
    """One minus the correlation of the sources, up to permutation and scale."""
    ours, peer = (_one_array(sources)[:, 0].astype(np.float64) for sources in (ours, peer))
    count = len(ours)
    return float(1 - np.abs(np.corrcoef(ours, peer)[:count, count:]).max(1).min())


def factorisation(seconds: float, n_components: int) -> Inputs:
    values = FRONT_END(scene(seconds).sum(0)[0]).abs()
    generator = torch.Generator().manual_seed(0)
    level = (values.mean() / n_components).sqrt()
    shapes = (len(values), n_components), (n_components, values.shape[1])
    start = [level * torch.randn(shape, generator=generator).abs() for shape in shapes]
    return Inputs((values, *start), (values.numpy(), *(part.numpy() for part in start)))


def nmf(matrix: Tensor, templates: Tensor, activations: Tensor, beta_loss: str) -> Tensor:
    size = templates.shape[-1]
    model = fit_nmf(matrix, size, beta_loss=beta_loss, max_iter=100, tol=0.0, init=(templates, activations))
    return model.templates @ model.activations


def estimates_and_sources(seconds: float) -> Inputs:
    """Four noisy stereo sources, and estimates with 10 % of another source and noise."""
    two = scene(seconds)
    noise = torch.randn(2, 4, *two.shape[1:], generator=torch.Generator().manual_seed(0))
    sources = torch.cat((two, two.flip(-1, -2))) + 0.01 * noise[0]
    estimates = 0.9 * sources + 0.1 * sources.roll(1, 0) + 0.01 * noise[1]
    return Inputs((estimates, sources), (sources.mT.double().numpy(), estimates.mT.double().numpy()))


def bss_eval(estimates: Tensor, sources: Tensor) -> tuple[Tensor, ...]:
    return bss_eval_v4(estimates, sources, sample_rate=RATE)[:4]


def kmeans_inertia(points: Tensor) -> Tensor:
    return kmeans(points, 4).inertia / points[0].numel()


def one_by_one(separator: Separator) -> Callable[..., list[Tensor]]:
    """Apply a separator to each item of a batch separately."""
    return lambda mixtures, *required: [
        separator(mixture, **dict(zip(separator.requires, own, strict=True)))
        for mixture, *own in zip(mixtures, *required, strict=True)
    ]


def built(separator: str, arguments: Mapping[str, Any] | None) -> Separator:
    """Build a separator with reproducible weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(separator, **{"sample_rate": RATE, **(arguments or {})}).eval()


def separator_row(separator: str, arguments: Mapping[str, Any] | None = None, **row: Any) -> Row:
    """A row of a registered separator, by default under its name and on the mixture."""
    ours = built(separator, arguments)
    return Row(**{"name": separator, "prepare": mixture, "ours": ours, "separator": separator, **row})


def batch_row(separator: str, arguments: Mapping[str, Any] | None = None) -> Row:
    """A row that compares a separator on a batch with the same separator item by item."""
    return separator_row(
        separator,
        arguments,
        problem=f"batch of 4 items, {STEREO}",
        seconds=4.0,
        items=4,
        prepare=partial(batch_and_items, items=4),
        peer=one_by_one(built(separator, arguments)),
        peer_name="torchsep, item by item",
        peer_packages=("torchsep",),
    )


def short_batch_row(separator: str, arguments: Mapping[str, Any] | None = None) -> Row:
    """As :func:`batch_row`, for items so short that a single one cannot occupy a second core."""
    arguments = {**(arguments or {}), "sample_rate": SHORT_RATE}
    alone = built(separator, arguments)
    return separator_row(
        separator,
        arguments,
        name=f"{separator}_short_batch",
        problem="batch of 16 items, stereo, 8 kHz, STFT 256 / 64",
        seconds=0.25,
        items=16,
        prepare=partial(batch_and_items, items=16, sample_rate=SHORT_RATE, required=alone.requires),
        peer=one_by_one(alone),
        peer_name="torchsep, item by item",
        peer_packages=("torchsep",),
    )


SHORT_RATE = 8000
STEREO = "stereo, 44.1 kHz, STFT 2048 / 512"
MAGNITUDE = "magnitude spectrogram 2 x 1025 x frames"
BODY = {"name": "recurrent_body", "num_features": 1025, "hidden_size": 128, "num_layers": 2}
WAVEFORMS = {
    "name": "dprnn",
    "filter_bank": {"name": "stft_filter_bank", "kernel_size": 1024},
    "chunk_size": 20,
    "num_blocks": 2,
}

ROWS = [
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
        peer=peers.kmeans_inertia,
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
        peer=peers.kmeans_inertia,
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
            peer=partial(peers.nmf, beta_loss=loss),
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
        peer=peers.bss_eval_v4,
        peer_name="museval",
        peer_packages=("museval",),
        seconds=60.0,
    ),
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
        peer=peers.rpca,
        peer_name="NumPy, all singular values, librosa.stft, istft",
        peer_packages=("librosa", "numpy"),
    ),
    separator_row(
        "ica",
        problem="two sources mixed by gains, stereo, 44.1 kHz",
        prepare=mixed_by_gains,
        peer=peers.ica,
        peer_name="scikit-learn FastICA",
        peer_packages=("scikit-learn",),
        deviation=lack_of_correlation,
    ),
    separator_row(
        "wiener_filter",
        problem=f"two sources, one iteration, {STEREO}",
        prepare=mixture_and_estimates,
        peer=peers.wiener_filter,
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
        peer=partial(peers.projet, num_sources=2, num_iterations=20),
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
        peer=partial(peers.ensemble_clustering, centres=CENTRES),
        peer_name="librosa.decompose.hpss, NumPy, SciPy, scikit-learn KMeans, librosa.stft, istft",
        peer_packages=("librosa", "numpy", "scipy", "scikit-learn"),
        tolerance=0.05,  # scikit-learn's k-means stops one update earlier
    ),
    separator_row(
        "overlap_add",
        {"separator": {"name": "mix_as_estimate", "num_sources": 2}, "window_duration": 1.0},
        problem="two copies in windows of 1 s, stereo, 44.1 kHz",
        prepare=unpadded_mixture,
        peer=partial(peers.in_windows, window=RATE, hop=RATE // 2, num_sources=2),
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
        peer=peers.mix_as_estimate,
        peer_name="NumPy",
        peer_packages=("numpy",),
    ),
]
