"""PROJET: separation of stereo mixtures by projections and location maps."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from torchsep.checks import check_integer, check_mixture, check_number, check_required
from torchsep.functional._chunks import BlockSize
from torchsep.functional.hashing import hashed_uniform
from torchsep.functional.magnitude import magnitude
from torchsep.functional.spatial._floor import above_noise_floor
from torchsep.functional.spatial.delay_histogram import delay_weights, histogram_peaks, phase_histogram
from torchsep.functional.spatial.projections import (
    fit_projections,
    location_gains,
    recombine_projections,
    source_gains,
    steering_vectors,
)
from torchsep.separators.bases.figure import image_figure
from torchsep.separators.bases.separator import Separator
from torchsep.separators.bases.source_names import numbered_names
from torchsep.transforms import STFT
from torchsep.typing import Estimates, Spectrogram, Waveform

__all__ = ["PROJET"]

_DELAY_STEP = 0.25  # samples, between the delays to choose from
_ELSEWHERE = 0.01  # proportion of a source's initial map spread over all locations

_LEAST_START = 1e-3  # relative to the mean of given estimates; zero would remain zero

# Elements of the gains (projections by locations) processed at a time. They are by far the largest tensor and are read
# at every update, so few items are processed together.
_BLOCK = BlockSize(cpu=1 << 22, accelerator=1 << 28)


class PROJET(Separator):
    r"""PROJET: separate a stereo mixture by fitting sources and location maps to its projections.

    The mixture is projected on many directions, each of which cancels one location. The magnitudes of all projections
    are modelled by a spectrogram and a location map per source, fitted by multiplicative updates. A Wiener filter is
    then applied to each projection, and the stereo sources are recovered from all projections. Unlike in
    :class:`DUET`, sources may overlap in the spectrogram and may be spread over several locations.

    Locations and projections form a grid of pannings and delays. The delays are chosen for each mixture as those that
    best explain the phases of its bins. The maps are initialised at the peaks of the mixture's location histogram, the
    spectrograms at random.

    Args:
        num_sources: number of sources, at least two.
        num_iterations: number of updates.
        max_delay_samples: maximum delay between the channels; zero for mixtures with panning only, which takes a
            fraction of the time.
        location_set_panning: number of pannings of locations, from the first channel only to the second channel only.
        location_set_delay: number of delays of locations.
        projection_set_panning: number of pannings of projections, over twice the range, since channels are also
            subtracted.
        projection_set_delay: number of delays of projections.
        beta: parameter of the beta-divergence: one is the Kullback-Leibler divergence, two the Euclidean distance.
        alpha: exponent of the magnitudes that are assumed to be additive, from 0 to 2.
        seed: seed of the random initialisation.
        sample_rate: sample rate of the mixtures, in Hz.
        stft: front end; :meth:`STFT.from_sample_rate` if None.

    Shape:
        ``(B, 2, T) -> (B, num_sources, 2, T)``.

    Gradient:
        Exact, with the delays and the initial maps held fixed. Memory grows with the square root of the iterations.

    Example:
        >>> separator = PROJET(num_sources=2, num_iterations=10, max_delay_samples=0, sample_rate=8000)
        >>> time = torch.arange(4000) / 8000
        >>> low, high = torch.sin(2000 * time), torch.sin(9000 * time)
        >>> mixture = torch.stack((low + 0.4 * high, 0.4 * low + high))
        >>> separator.location_map(mixture)[:, :, 0].argmax(-1).sort().values
        tensor([ 7, 22])

    References:
        Derry FitzGerald, Antoine Liutkus, Roland Badeau: "PROJET - spatial audio separation using projections",
        ICASSP, 2016.
    """

    channels = 2

    def __init__(
        self,
        num_sources: int = 2,
        num_iterations: int = 50,
        max_delay_samples: float = 20,
        *,
        location_set_panning: int = 30,
        location_set_delay: int = 17,
        projection_set_panning: int = 10,
        projection_set_delay: int = 9,
        beta: float = 1.0,
        alpha: float = 1.0,
        seed: int = 0,
        sample_rate: int,
        stft: STFT | None = None,
    ) -> None:
        super().__init__(sample_rate=sample_rate)
        check_integer(num_sources, "num_sources", at_least=2)
        check_integer(num_iterations, "num_iterations", at_least=1)
        check_number(max_delay_samples, "max_delay_samples", at_least=0.0)
        check_integer(location_set_panning, "location_set_panning", at_least=2)
        check_integer(location_set_delay, "location_set_delay", at_least=1)
        check_integer(projection_set_panning, "projection_set_panning", at_least=2)
        check_integer(projection_set_delay, "projection_set_delay", at_least=1)
        check_number(beta, "beta", at_least=0.0, at_most=2.0)
        check_number(alpha, "alpha", above=0.0, at_most=2.0)
        check_integer(seed, "seed", at_least=0)
        if stft is not None and not isinstance(stft, STFT):
            raise ValueError(f"stft must be an STFT or None, got {stft!r}")
        self.num_sources = num_sources
        self.num_iterations = num_iterations
        self.max_delay_samples = max_delay_samples
        self.location_set_panning = location_set_panning
        self.location_set_delay = location_set_delay
        self.projection_set_panning = projection_set_panning
        self.projection_set_delay = projection_set_delay
        self.beta = beta
        self.alpha = alpha
        self.seed = seed
        self.stft = STFT.from_sample_rate(sample_rate) if stft is None else stft
        self.names = numbered_names(num_sources)

    def refine(self, mixture: Waveform, estimates: Estimates) -> Estimates:
        """The estimates of a fit that is initialised by estimates of the sources, whose order is kept.

        The spectrograms of the sources are initialised by the magnitudes of the estimates, summed over the channels,
        and all location maps are initially uniform. With delays, this needs more iterations than the peaks of the
        location histogram do: about 100.

        Args:
            mixture: ``(B, 2, T)`` or ``(2, T)``.
            estimates: ``(B, num_sources, 2, T)`` or ``(num_sources, 2, T)``.

        Gradient:
            As in :meth:`forward`, with respect to the estimates too.

        Raises:
            TypeError: if an input is no tensor.
            ValueError: if an input has a wrong shape or dtype.
        """
        check_mixture(mixture, self.channels)
        check_required({"estimates": estimates}, ("estimates",), tuple(mixture.shape))
        if estimates.shape[-3] != self.num_sources:
            raise ValueError(f"estimates must be of {self.num_sources} sources, got {estimates.shape[-3]}")
        if mixture.dim() == 2:
            return self.refine(mixture[None], estimates[None])[0]
        dtype = torch.float64 if mixture.dtype == torch.float64 else torch.float32
        given = {"estimates": estimates.to(dtype)}
        return self._at_usual_level(mixture.to(dtype), given).to(mixture.dtype)

    def location_map(self, mixture: Waveform) -> Float[Tensor, "B S Q D"]:
        """The location map of each source, over pannings and the delays of :meth:`location_delays`; maps sum to one."""
        check_mixture(mixture, self.channels)
        spectrogram = self.stft(mixture if mixture.dim() == 3 else mixture[None])
        maps = torch.cat([self._fit(items)[2] for items in self._groups(spectrogram)])
        maps = maps.mT.unflatten(-1, (self.location_set_panning, -1))
        return maps if mixture.dim() == 3 else maps[0]

    def location_delays(self, mixture: Waveform) -> Float[Tensor, "B D"]:
        """The delays of the second channel, in samples, of the location maps of each mixture."""
        check_mixture(mixture, self.channels)
        delays = self._initial_maps(self.stft(mixture if mixture.dim() == 3 else mixture[None]))[0]
        return delays if mixture.dim() == 3 else delays[0]

    def plot_location_map(self, mixture: Waveform) -> Any:
        """A matplotlib figure of the location maps of one mixture ``(2, T)``, summed over delays."""
        maps = self.location_map(mixture)
        axes = {"panning (degrees)": (0.0, 90.0), "source": (0.5, self.num_sources + 0.5)}
        return image_figure(maps.sum(-1), axes)

    def separate(self, mixture: Waveform, **required: Tensor) -> Estimates:
        """Fit the sources to the projections and apply Wiener filters to these."""
        groups = self._groups(self.stft(mixture))
        starts: Sequence[Tensor | None] = [None] * len(groups)
        if "estimates" in required:
            level = magnitude(self.stft(required["estimates"])).sum(2).transpose(1, 2)
            starts = level.split([len(items) for items in groups])
        separated = torch.cat([self._separated(*group) for group in zip(groups, starts, strict=True)])
        return self.stft.inverse(separated, mixture.shape[-1])

    def _separated(self, spectrogram: Spectrogram, start: Tensor | None) -> Complex[Tensor, "B S 2 F N"]:
        projections, sources, maps, gains = self._fit(spectrogram, start)
        return recombine_projections(spectrogram, projections, sources, source_gains(gains, maps))

    def _groups(self, spectrogram: Spectrogram) -> tuple[Spectrogram, ...]:
        """Groups of items that are processed together; all items under the compiler."""
        if torch.compiler.is_compiling():
            return (spectrogram,)
        locations, projections = self.location_set_panning, self.projection_set_panning
        if self.max_delay_samples > 0:
            locations, projections = locations * self.location_set_delay, projections * self.projection_set_delay
        block = _BLOCK.on(spectrogram.device)
        return spectrogram.split(max(1, block // (spectrogram.shape[-2] * locations * projections)))

    def _fit(self, spectrogram: Spectrogram, start: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Projections, spectrograms and maps of the sources, and the gain of each projection per location.

        The spectrograms are initialised by the magnitudes ``(B, F, S, N)`` of ``start``, or at random if None.
        """
        delays, projected_delays, initial_maps = self._initial_maps(spectrogram)
        half = torch.arange(self.projection_set_panning, dtype=torch.float64, device=delays.device)
        angles = torch.linspace(0, math.pi / 2, self.location_set_panning, dtype=torch.float64, device=delays.device)
        projections = steering_vectors(
            half * (math.pi / self.projection_set_panning), projected_delays, self.stft.n_fft
        )
        projections = projections.to(spectrogram.dtype)
        locations = steering_vectors(angles, delays, self.stft.n_fft).to(spectrogram.dtype)
        gains = location_gains(projections, locations, self.alpha)
        batch, _, bins, frames = spectrogram.shape
        shape = (bins, self.num_sources, frames)
        if start is None:
            sources = 0.1 + hashed_uniform(shape, self.seed, spectrogram.device).to(gains)
        else:
            mean = start.mean((1, 2, 3), keepdim=True)
            sources = (_LEAST_START + start / mean.masked_fill(mean == 0, 1.0)) ** self.alpha
            initial_maps = torch.full_like(initial_maps, 1 / initial_maps.shape[1])
        sources, maps = fit_projections(
            spectrogram,
            projections,
            gains,
            start=(sources.expand(batch, *shape), initial_maps.to(gains)),
            num_iterations=self.num_iterations,
            beta=self.beta,
            alpha=self.alpha,
        )
        return projections, sources, maps, gains

    @torch.no_grad()
    def _initial_maps(self, spectrogram: Spectrogram) -> tuple[Tensor, Tensor, Tensor]:
        """Delays of locations ``(B, D)`` and of projections, and initial maps ``(B, L, S)``."""
        spectrogram = above_noise_floor(spectrogram)
        level = magnitude(spectrogram)
        peak = level.amax((1, 2, 3), keepdim=True)
        first, second = (level / peak.masked_fill(peak == 0, 1.0)).unbind(1)
        weights = first * second
        weights = torch.cat((torch.zeros_like(weights[:, :1]), weights[:, 1:]), 1)  # the first bin has no phase
        panning = torch.atan2(second, first) * ((self.location_set_panning - 1) / (math.pi / 2))
        cross = spectrogram[:, 1] / peak[:, 0] * (spectrogram[:, 0] / peak[:, 0]).conj()
        counted = phase_histogram(cross, weights, panning, self.location_set_panning)
        longest, number = self.max_delay_samples, max(self.location_set_delay, self.projection_set_delay)
        steps = max(math.ceil(longest / _DELAY_STEP), number // 2) if longest > 0 else 0
        delays = torch.linspace(-longest, longest, 2 * steps + 1, dtype=torch.float64, device=level.device)
        total = counted.sum((1, 2, 3), keepdim=True)
        explained = delay_weights((counted / total.masked_fill(total == 0, 1.0)).sum(1), delays, self.stft.n_fft).sum(1)
        order = 1 - 1e-6 * torch.linspace(0, 1, len(delays), dtype=torch.float64, device=level.device)
        chosen, projected = (
            delays[(explained * order).topk(min(count, len(delays))).indices.sort().values]
            for count in (self.location_set_delay, self.projection_set_delay)
        )
        row, column, _ = histogram_peaks(counted, delays, self.stft.n_fft, self.num_sources, (0, 0))
        nearest = (chosen[:, None] - delays[column][:, :, None]).abs().argmin(-1)
        size = self.location_set_panning * chosen.shape[1]
        maps = chosen.new_full((len(chosen), self.num_sources, size), _ELSEWHERE / size)
        maps = maps.scatter(2, (row * chosen.shape[1] + nearest)[..., None], 1.0)
        return chosen, projected, (maps / maps.sum(-1, keepdim=True)).mT
