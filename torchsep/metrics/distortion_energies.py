"""Frame-wise energies of the BSS Eval decomposition: source, spatial distortion, interference and artifacts."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_integer
from torchsep.functional.samples import at_least_single
from torchsep.metrics.distortion_filters import distortion_filters, fast_length

__all__ = ["Energies", "distortion_energies"]

# Maximum number of transform samples in memory at once.
_MAX_SAMPLES = 1 << 22

# Number of values processed at once, so that they fit in the cache.
_CACHE_VALUES = 1 << 18


class Energies(NamedTuple):
    """Energies ``(..., R, S, frames)`` of the components of estimate S relative to true source R.

    The error is relative to the true source, or to its filtered version where filters are allowed. R is one if each
    estimate is paired with the source of the same index. Undefined frames are NaN.
    """

    true: Tensor
    error: Tensor
    spatial: Tensor
    own: Tensor
    interference: Tensor
    explained: Tensor
    artifacts: Tensor


def distortion_energies(
    estimates: Tensor, sources: Tensor, num_taps: int, frames: tuple[int, int], *, of_images: bool, pairs: bool
) -> Energies:
    """Energies of all components of the decomposition.

    Args:
        estimates: estimates ``(..., S, C, T)``.
        sources: true sources.
        num_taps: length of the filters.
        frames: frame length and hop in samples.
        of_images: whether filtering of the true source counts as an error.
        pairs: whether every estimate is paired with every source.
    """
    if estimates.shape != sources.shape:
        wanted = tuple(sources.shape)
        raise ValueError(f"estimates must have the shape of sources, {wanted}, got {tuple(estimates.shape)}")
    if sources.dim() < 3:
        raise ValueError(f"sources must have shape (..., S, C, T), got {tuple(sources.shape)}")
    if sources.numel() == 0:
        raise ValueError(f"sources must have at least one source, channel and sample, got {tuple(sources.shape)}")
    check_integer(num_taps, "num_taps", at_least=1)
    estimates, sources = at_least_single(estimates), at_least_single(sources)
    samples, step = frames
    size = fast_length(samples + num_taps - 1)
    filters = distortion_filters(sources, estimates, num_taps, pairs=pairs)
    # Filter spectra (..., R, S, C estimate channels, M source channels, 1 frame, bins).
    own, every = (torch.fft.rfft(taps, size)[..., None, :] for taps in filters)
    own, every = own if pairs else own[..., None, :, :, :, :, :], every[..., None, :, :, :, :, :]
    total = 1 + (sources.shape[-1] - samples) // step
    chunk = max(1, _MAX_SAMPLES // (size * 2 * sources[..., 0].numel()))
    undefined = ~(estimates.sum((-3, -2, -1)) + sources.sum((-3, -2, -1))).isfinite()
    found = []
    for first in range(0, total, chunk):
        last = min(first + chunk, total)
        piece = slice(first * step, (last - 1) * step + samples)
        estimated, true = (tensor[..., piece].unfold(-1, samples, step).double() for tensor in (estimates, sources))
        silent = ((estimated.sum(-3) == 0).all(-1) | (true.sum(-3) == 0).all(-1)).any(-2)  # (..., frames)
        spectra = _spectra(estimated, size), _spectra(true, size)
        energies = _energies_of_spectra(*spectra, own, every, of_images=of_images)
        left_out = (silent | undefined[..., None])[..., None, None, :]
        found.append((energies * (2 / size)).masked_fill(left_out, math.nan))
    return Energies(*torch.cat(found, -1))


def _spectra(frames: Float[Tensor, "*any S C N n"], size: int) -> Tensor:
    """One-sided spectra with half of the energy: DC and Nyquist, which are not mirrored, are scaled by 1/sqrt(2)."""
    spectra = torch.fft.rfft(frames, size)
    spectra[..., :: size // 2] *= math.sqrt(0.5)
    return spectra


def _energies_of_spectra(estimated: Tensor, true: Tensor, own: Tensor, every: Tensor, *, of_images: bool) -> Tensor:
    """Energies ``(7, ..., R, S, frames)``, accumulated over blocks of bins that fit in the cache."""
    *items, count, channels, frames, bins = true.shape
    pairs = own.shape[-6] > 1
    width = max(1, _CACHE_VALUES // (math.prod(items) * (count * channels) ** 2 * frames))
    energies = own.new_zeros(7, *items, own.shape[-6], count, frames, dtype=torch.float64)
    for begin in range(0, bins, width):
        some = slice(begin, begin + width)
        estimate, source = estimated[..., None, :, :, :, some], true[..., some]
        references = source.flatten(-4, -3)[..., None, None, None, :, :, :]
        explained = (every[..., some] * references).sum(-3)
        source = source[..., :, None, :, :, :] if pairs else source[..., None, :, :, :, :]
        filtered = (own[..., some] * source[..., None, :, :, :]).sum(-3)
        error = estimate - (source if of_images else filtered)
        signals = (
            source, error, filtered - source, filtered, explained - filtered, explained, estimate - explained,
        )  # fmt: skip
        energies = energies + torch.stack([_energy(signal).expand(energies.shape[1:]) for signal in signals])
    return energies


def _energy(spectra: Float[Tensor, "*any C N n"]) -> Float[Tensor, "*any N"]:
    """Energy over channels and bins."""
    return torch.linalg.vector_norm(torch.view_as_real(spectra).flatten(-2), dim=-1).square().sum(-2)
