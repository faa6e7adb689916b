"""Parts of the rows of the benchmark: the row itself, inputs, and builders of rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import numpy as np
import peers
import torch
from torch import Tensor

from torchsep import STFT, Separator, build
from torchsep.data import music_and_voice
from torchsep.functional import fit_nmf, kmeans
from torchsep.metrics import bss_eval_v4

RATE = peers.SAMPLE_RATE
FRONT_END = STFT(n_fft=peers.N_FFT, hop_length=peers.HOP_LENGTH)
CUTOFF = 1000.0
SHORT_RATE = 8000
STEREO = "stereo, 44.1 kHz, STFT 2048 / 512"
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
