"""PROJET: separation of stereo mixtures by projections and location maps."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from torchsep.checks import check_integer, check_mixture, check_number, check_required
from torchsep.functional._chunks import BlockSize
from torchsep.functional.magnitude import magnitude
from torchsep.functional.spatial._floor import above_noise_floor
from torchsep.functional.spatial.delay_histogram import delay_weights, histogram_peaks, phase_histogram
from torchsep.functional.spatial.likelihood_masks import likelihood_masks
from torchsep.functional.spatial.locations import refine_locations
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

_LEAST_START = 0.1  # of initial spectrograms, relative to their mean; zero would remain zero
_HARD_PANNED = 1e-3  # angle in radians from a channel alone, where the ratio of the channels would be infinite

# Elements of the gains (projections by locations) processed at a time. They are by far the largest tensor and are read
# at every update, so few items are processed together.
_BLOCK = BlockSize(cpu=1 << 22, accelerator=1 << 28)


class _Grid(NamedTuple):
    """The delays of the second channel of locations and of projections, in samples."""

    delays: Float[Tensor, "B D"]
    projected: Float[Tensor, "B E"]


class PROJET(Separator):
    r"""PROJET: separate a stereo mixture by fitting sources and location maps to its projections.

    The mixture is projected on many directions, each of which cancels one location. The magnitudes of all projections
    are modelled by a spectrogram and a location map per source, fitted by multiplicative updates. A Wiener filter is
    then applied to each projection, and the stereo sources are recovered from all projections. Unlike in
    :class:`DUET`, sources may overlap in the spectrogram and may be spread over several locations.

    Locations and projections form a grid of pannings and delays. The delays are chosen for each mixture as those that
    best explain the phases of its bins. The maps are initialised at the peaks of the mixture's location histogram,
    refined by :func:`torchsep.functional.refine_locations`, and the spectrograms by the bins most likely to be there.
    From random spectrograms, sources with similar gains in most projections, such as those that differ by a short delay
    alone, hardly come apart.

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
        sample_rate: sample rate of the mixtures, in Hz.
        stft: front end; :meth:`STFT.from_sample_rate` if None.

    Shape:
        ``(B, 2, T) -> (B, num_sources, 2, T)``.

    Gradient:
        Exact, with the initial locations held fixed. Memory grows with the square root of the iterations.

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
        delays = self._located(self.stft(mixture if mixture.dim() == 3 else mixture[None]))[0].delays
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

        The spectrograms are initialised by the magnitudes ``(B, F, S, N)`` of ``start``; if None, by those of the bins
        that are most likely at the location of a source.
        """
        grid, attenuation, delay = self._located(spectrogram)
        device = spectrogram.device
        half = torch.arange(self.projection_set_panning, dtype=torch.float64, device=device)
        angles = torch.linspace(0, math.pi / 2, self.location_set_panning, dtype=torch.float64, device=device)
        projections = steering_vectors(
            half * (math.pi / self.projection_set_panning), grid.projected, self.stft.n_fft
        ).to(spectrogram.dtype)
        locations = steering_vectors(angles, grid.delays, self.stft.n_fft).to(spectrogram.dtype)
        gains = location_gains(projections, locations, self.alpha)
        size = locations.shape[2]
        if start is None:
            dtype = gains.dtype
            masks = likelihood_masks(above_noise_floor(spectrogram), attenuation.to(dtype), delay.to(dtype))[:, :, 0]
            start = (masks * magnitude(spectrogram).sum(1)[:, None]).transpose(1, 2)
            maps = self._initial_maps(grid, attenuation, delay)
        else:
            maps = gains.new_full((len(gains), size, self.num_sources), 1 / size)
        mean = start.mean((1, 2, 3), keepdim=True)
        sources = (_LEAST_START + start / mean.masked_fill(mean == 0, 1.0)) ** self.alpha
        sources, maps = fit_projections(
            spectrogram,
            projections,
            gains,
            start=(sources, maps.to(gains)),
            num_iterations=self.num_iterations,
            beta=self.beta,
            alpha=self.alpha,
        )
        return projections, sources, maps, gains

    @torch.no_grad()
    def _located(self, spectrogram: Spectrogram) -> tuple[_Grid, Float[Tensor, "B S"], Float[Tensor, "B S"]]:
        """The delays of the grid, with those of the sources in it, and the attenuation and delay of each source."""
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
        angle = row * (math.pi / 2 / (self.location_set_panning - 1))
        attenuation = angle.double().clamp(_HARD_PANNED, math.pi / 2 - _HARD_PANNED).tan()
        attenuation, delay = refine_locations(spectrogram, attenuation, delays[column], (-longest, longest))
        nearest = (chosen[:, None] - delay[..., None]).abs().argmin(-1)
        for source in range(self.num_sources):  # one by one: of two that share a delay of the grid, the last counts
            chosen = chosen.scatter(1, nearest[:, source, None], delay[:, source, None])
        return _Grid(chosen, projected), attenuation, delay

    def _initial_maps(self, grid: _Grid, attenuation: Tensor, delay: Tensor) -> Float[Tensor, "B L S"]:
        """The maps of sources at their locations, with a small part everywhere."""
        count = grid.delays.shape[1]
        row = (attenuation.atan() * ((self.location_set_panning - 1) / (math.pi / 2))).round().long()
        column = (grid.delays[:, None] - delay[..., None]).abs().argmin(-1)
        size = self.location_set_panning * count
        maps = grid.delays.new_full((len(delay), self.num_sources, size), _ELSEWHERE / size)
        maps = maps.scatter(2, (row * count + column)[..., None], 1.0)
        return (maps / maps.sum(-1, keepdim=True)).mT
