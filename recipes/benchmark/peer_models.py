"""Peers that fit a model: k-means, robust PCA, PROJET, Wiener filter, ICA, NMF; and BSS Eval, ensembles and windows."""

import importlib.util
import math
import warnings

import librosa
import numpy as np
import sklearn.cluster
import sklearn.decomposition
import torch
from peers import HOP_LENGTH, N_FFT, SAMPLE_RATE, WINDOW, hpss_masks, inverse, repeating_mask, stft


def kmeans_inertia(problems):
    fits = [sklearn.cluster.KMeans(4, n_init=1, random_state=0).fit(points) for points in problems]
    return np.array([fit.inertia_ for fit in fits], np.float32) / problems[0].size


def rpca(padded_waveform, length, high_pass_cutoff_hz=100.0, num_iterations=100, epsilon=1e-7):
    """Robust PCA with a full SVD in every iteration, channel by channel, in double precision."""
    spectrogram = stft(padded_waveform)
    masks = []
    for channel in np.abs(spectrogram).astype(np.float64):
        low_rank, sparse = rpca_parts(channel, num_iterations, epsilon)
        total = np.abs(low_rank) + np.abs(sparse)
        masks.append(np.divide(np.abs(low_rank), total, out=np.ones_like(total), where=total > 0).astype(np.float32))
    mask = np.stack(masks)
    mask[:, librosa.fft_frequencies(sr=SAMPLE_RATE, n_fft=N_FFT) < high_pass_cutoff_hz] = 1.0
    return [inverse(spectrogram * part, length) for part in (mask, 1 - mask)]


def rpca_parts(matrix, num_iterations, epsilon):
    weight = 1 / np.sqrt(max(matrix.shape))
    norm, size = np.linalg.norm(matrix, 2), np.linalg.norm(matrix)
    multiplier = matrix / max(norm, np.abs(matrix).max() / weight)
    sparse, mu = np.zeros_like(matrix), 1.25 / norm
    largest = mu * 1e7
    for _ in range(num_iterations):
        left, values, right = np.linalg.svd(matrix - sparse + multiplier / mu, full_matrices=False)
        rank = np.count_nonzero(values > 1 / mu)
        low_rank = (left[:, :rank] * (values[:rank] - 1 / mu)) @ right[:rank]
        remainder = matrix - low_rank + multiplier / mu
        sparse = np.sign(remainder) * np.maximum(np.abs(remainder) - weight / mu, 0)
        residual = matrix - low_rank - sparse
        multiplier += mu * residual
        mu = min(1.5 * mu, largest)
        if np.linalg.norm(residual) < epsilon * size:
            break
    return low_rank, sparse


def projet(mixture, num_sources, num_iterations, alpha=1.0, beta=1.0):
    """PROJET in double precision on fixed grids, with whole tensors, as in the common reference implementation."""
    window = torch.from_numpy(WINDOW).double()
    transform = {"n_fft": N_FFT, "hop_length": HOP_LENGTH, "window": window}
    waveform = torch.from_numpy(mixture).double()
    spectrogram = torch.stft(waveform, **transform, return_complex=True, pad_mode="constant").permute(1, 2, 0)
    locations = steering_vectors(0.0, 30, 17)
    directions = steering_vectors(-math.pi / 2, 10, 9).conj()
    projected = torch.einsum("ftc,fmc->ftm", spectrogram, directions)
    observed = projected.abs() ** alpha
    gains = torch.einsum("fmc,flc->fml", directions, locations).abs() ** alpha
    generator = torch.Generator().manual_seed(0)
    spectra = torch.rand(*spectrogram.shape[:2], num_sources, generator=generator, dtype=torch.float64)
    maps = torch.rand(locations.shape[1], num_sources, generator=generator, dtype=torch.float64)
    tiny = 1e-20
    for _ in range(num_iterations):
        weights = gains @ maps
        model = torch.einsum("ftj,fmj->ftm", spectra, weights) + tiny
        up, down = model ** (beta - 2) * observed, model ** (beta - 1)
        up, down = (torch.einsum("ftm,fmj->ftj", part, weights) for part in (up, down))
        spectra = spectra * up / (down + tiny)
        model = torch.einsum("ftj,fmj->ftm", spectra, weights) + tiny
        up, down = model ** (beta - 2) * observed, model ** (beta - 1)
        up, down = (torch.einsum("fml,ftm,ftj->lj", gains, part, spectra) for part in (up, down))
        maps = maps * up / (down + tiny)
    weights = gains @ maps
    model = torch.einsum("ftj,fmj->ftm", spectra, weights) + tiny
    back = torch.linalg.pinv(directions)
    estimates = []
    for source in range(num_sources):
        mask = spectra[..., source, None] * weights[:, None, :, source] / model
        image = torch.einsum("fcm,ftm->cft", back, mask * projected)
        estimates.append(torch.istft(image, **transform, length=mixture.shape[-1]))
    return estimates


def steering_vectors(first_angle, num_angles, num_delays, longest=20.0):
    """Steering vectors of two channels on a grid of panning angles and delays, ``(F, locations, 2)``."""
    angles = torch.linspace(first_angle, math.pi / 2, num_angles, dtype=torch.float64)
    delays = torch.linspace(-longest, longest, num_delays, dtype=torch.float64)
    angle, delay = (values.flatten() for values in torch.meshgrid(angles, delays, indexing="ij"))
    frequency = torch.linspace(0, math.pi, N_FFT // 2 + 1, dtype=torch.float64)
    second = angle.sin() * torch.exp(-1j * frequency[:, None] * delay)
    return torch.stack((angle.cos().expand_as(second) + 0j, second), -1)


def wiener_filter(padded_waveform, padded_estimates, length):
    import norbert  # optional

    spectrogram, estimates = (stft(signals).T for signals in (padded_waveform, padded_estimates.swapaxes(0, 1)))
    scale = max(1.0, np.abs(spectrogram).max() / 10)
    filtered = norbert.expectation_maximization(
        np.ascontiguousarray(np.moveaxis(estimates, 2, 3)) / scale, np.ascontiguousarray(spectrogram) / scale, 1
    )[0]
    return inverse(np.ascontiguousarray((filtered * scale).T), length)


def ica(mixture):
    fitted = sklearn.decomposition.FastICA(len(mixture), whiten="unit-variance", random_state=0)
    return fitted.fit_transform(mixture.T).T[:, None]


def nmf(magnitude, templates, activations, beta_loss):
    model = sklearn.decomposition.NMF(
        templates.shape[1], solver="mu", init="custom", beta_loss=beta_loss.replace("_", "-"), max_iter=100, tol=0
    )
    if beta_loss == "itakura_saito":  # undefined for zeros
        magnitude = magnitude + np.float32(1e-8 * magnitude.mean())
    with warnings.catch_warnings():  # convergence warning
        warnings.simplefilter("ignore")
        found = model.fit_transform(magnitude.T, W=activations.T.copy(), H=templates.T.copy())
    return (found @ model.components_).T


def bss_eval_v4(sources, estimates):
    """Metrics of museval, loaded directly because importing the package requires ffmpeg."""
    folder = importlib.util.find_spec("museval").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location("museval_metrics", f"{folder}/metrics.py")
    metrics = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(metrics)
    return metrics.bss_eval(sources, estimates, window=SAMPLE_RATE, hop=SAMPLE_RATE, compute_permutation=False)[:4]


def ensemble_clustering(padded_waveform, length, centres, beta=5.0):
    """Clustering of the masks of two separators in every bin, with given initial centres."""
    spectrogram = stft(padded_waveform)
    magnitude = np.abs(spectrogram)
    harmonic, percussive = hpss_masks(magnitude)
    background = np.stack([repeating_mask(channel, (1, 25)) for channel in magnitude])
    background[..., librosa.fft_frequencies(sr=SAMPLE_RATE, n_fft=N_FFT) < 100.0, :] = 1.0
    features = np.stack((harmonic, percussive, background, 1 - background), axis=-1)
    loud = magnitude >= np.percentile(magnitude, 90.0)
    clusterer = sklearn.cluster.KMeans(len(centres), init=np.array(centres, dtype=np.float32), n_init=1)
    found = clusterer.fit(features[loud]).cluster_centers_
    closeness = np.exp(-beta * np.linalg.norm(features[..., None, :] - found, axis=-1))
    masks = np.moveaxis(closeness / closeness.sum(-1, keepdims=True), -1, 0)
    return [inverse(spectrogram * mask, length) for mask in masks]


def in_windows(mixture, window, hop, num_sources):
    """Overlap-add of equal parts of a mixture."""
    length = mixture.shape[-1]
    weights = np.sin(np.pi * (np.arange(window) + 0.5) / window).astype(np.float32) ** 2
    total = np.zeros((num_sources, *mixture.shape), np.float32)
    level = np.zeros(length, np.float32)
    for start in [*range(0, length - window, hop), length - window]:
        part = slice(start, start + window)
        total[..., part] += weights * mix_as_estimate(mixture[:, part])
        level[part] += weights
    return total / level


def mix_as_estimate(mixture):
    return np.repeat((mixture / 2)[None], 2, axis=0)
