"""What two channels tell about where a bin comes from: how much louder one is, and how much later."""

from itertools import combinations

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from torchsep.functional.magnitude import magnitude
from torchsep.functional.spatial.delay_histogram import delay_weights, phase_histogram, phase_kernel

__all__ = ["level_difference", "spatial_features", "symmetric_attenuation", "unit_cross"]

_DELAY_STEP = 0.25  # samples, between the delays that are looked at
_MODES = 16  # delays by which a bin may be explained

# Differences below these are no cue: sources nearer to one another than that are told apart by the other features.
_LEAST_LEVEL_SPREAD = 4.0  # dB
_LEAST_DELAY_SPREAD = 1.0  # samples
_LARGEST_LEVEL = 12.0  # dB, towards which level differences are bent
_STRAY = 1e-4  # agreement of a bin's phase with every delay


def unit_cross(first: Complex[Tensor, "*any"], second: Complex[Tensor, "*any"]) -> Complex[Tensor, "*any"]:
    """The phase by which the second of two channels is ahead, as numbers of length one; zero where one is silent.

    Gradient:
        Exact; zero where a channel is silent.

    Example:
        >>> unit_cross(torch.tensor([2.0 + 0j, 0j]), torch.tensor([3j, 1.0 + 0j]))
        tensor([0.+1.j, 0.+0.j])
    """
    return _unit(second) * _unit(first).conj()


def symmetric_attenuation(first: Float[Tensor, "*any"], second: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    r"""By how much the second of two channels is louder, :math:`a - 1 / a` with :math:`a = |X_2| / |X_1|`.

    Exchanging the channels changes the sign. Of two silent channels it is zero, of one silent channel infinite.

    Args:
        first: magnitudes :math:`|X_1|`.
        second: magnitudes :math:`|X_2|`.

    Example:
        >>> symmetric_attenuation(torch.tensor([1.0, 2.0, 0.0]), torch.tensor([2.0, 1.0, 0.0]))
        tensor([ 1.5000, -1.5000,  0.0000])
    """
    return (second / first - first / second).nan_to_num(0.0, torch.inf, -torch.inf)


def level_difference(
    first: Float[Tensor, "*any"], second: Float[Tensor, "*any"], largest: float = _LARGEST_LEVEL
) -> Float[Tensor, "*any"]:
    """By how many dB the second of two channels is louder, bent so that it stays below a bound.

    Args:
        first: power of the first channel.
        second: power of the second channel.
        largest: bound in dB.

    Gradient:
        Exact; zero where both channels are silent.

    Example:
        >>> level_difference(torch.tensor([1.0, 1.0, 0.0]), torch.tensor([2.0, 0.0, 0.0]))
        tensor([  2.9481, -11.9695,   0.0000])
    """
    total = first + second
    silent = total == 0
    total = total.masked_fill(silent, 1.0)
    floor = 1e-4  # of the power; far beyond the bound
    decibels = 10 * ((second / total + floor) / (first / total + floor)).log10()
    return largest * (decibels / largest).tanh()


def spatial_features(spectrogram: Complex[Tensor, "B C F N"], max_delay: float) -> Float[Tensor, "B 1 F N D"]:
    """Where each bin comes from, for every pair of channels: level difference, and delay as cosine and sine.

    A phase difference alone says less the higher the frequency: of a delayed source it differs from bin to bin, and
    beyond the spatial aliasing bound it stands for several delays. So the delays by which the phases of all bins can
    be explained are found first, with their weights, those of channels with opposite signs beside them; a bin's delay
    is the mean over them, by how well each agrees with its phase. It is turned into an angle that grows with the delay
    by how widely the delays of the mixture are spread, and counts for its cosine and sine, which change their sign
    where the channels' signs are opposite. So frequency plays no part any more.

    Levels and delays are divided by their spread, all bins weighed by their power, unless that is less than bins of
    one source are spread.

    Args:
        spectrogram: of at least two channels.
        max_delay: largest delay in samples between two channels.

    Gradient:
        Exact for the choice of the likeliest delays, which is held.

    Example:
        >>> spectrogram = torch.ones(1, 2, 5, 1) * torch.tensor([1.0, 0.5])[:, None, None] + 0j
        >>> spatial_features(spectrogram, max_delay=2.0).shape
        torch.Size([1, 1, 5, 1, 3])

    References:
        Shoko Araki, Hiroshi Sawada, Ryo Mukai, Shoji Makino: "Underdetermined blind sparse source separation for
        arbitrarily arranged multiple sensors", Signal Processing, 2007; Charles Blandin, Alexey Ozerov, Emmanuel
        Vincent: "Multi-source TDOA estimation in reverberant audio using angular spectra and clustering", Signal
        Processing, 2012.
    """
    batch, channels, bins, frames = spectrogram.shape
    one, other = zip(*combinations(range(channels), 2), strict=True)
    peak = magnitude(spectrogram.detach()).amax((1, 2, 3), keepdim=True)
    scaled = spectrogram / peak.masked_fill(peak == 0, 1.0)  # so that no power is too small
    first, second = (scaled[:, list(numbers)].flatten(0, 1) for numbers in (one, other))
    own, others = (channel.real.square() + channel.imag.square() for channel in (first, second))
    power = own + others
    total = power.sum((-2, -1), keepdim=True)
    shares = power / total.masked_fill(total == 0, 1.0)
    level = _standardised(level_difference(own, others), shares, _LEAST_LEVEL_SPREAD)
    angles = _delay_angles(unit_cross(first, second), first.abs() * second.abs(), max_delay)
    features = torch.stack((level, *angles), -1)
    together = features.unflatten(0, (batch, -1)).movedim(1, -2).flatten(-2)
    return together.reshape(batch, 1, bins, frames, -1)


def _delay_angles(
    cross: Complex[Tensor, "P F N"], heard: Float[Tensor, "P F N"], max_delay: float
) -> tuple[Float[Tensor, "P F N"], Float[Tensor, "P F N"]]:
    """Cosine and sine of the angle that stands for each bin's delay."""
    bins = cross.shape[-2]
    n_fft = 2 * (bins - 1)
    delays, signs, weights, centre, spread = _modes(cross, heard, n_fft, max_delay)
    angles = ((delays - centre) * (0.8 / spread)).clamp(-torch.pi / 2, torch.pi / 2)
    targets = [(signs * turned).to(heard) for turned in (angles.cos(), angles.sin())]
    turns = torch.arange(bins, dtype=torch.float64, device=cross.device)[:, None] * (2 * torch.pi / n_fft)
    weights, strays = weights.to(heard), _STRAY * weights.to(heard)
    totals = [torch.zeros_like(heard) for _ in range(3)]
    for mode in range(delays.shape[1]):
        angle = turns * delays[:, mode, None, None]
        turn = torch.polar(torch.ones_like(angle), angle)
        along = (cross * turn.to(cross.dtype)).real * signs[:, mode, None, None].to(heard)
        share = weights[:, mode, None, None] * phase_kernel(along) + strays[:, mode, None, None]
        for number, target in enumerate([*targets, torch.ones_like(weights)]):
            totals[number] = totals[number] + share * target[:, mode, None, None]
    return totals[0] / totals[2], totals[1] / totals[2]


def _modes(
    cross: Complex[Tensor, "P F N"], heard: Float[Tensor, "P F N"], n_fft: int, max_delay: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The likeliest delays ``(P, K)``, their signs and weights, and the centre and the spread of all."""
    steps = max(1, round(max_delay / _DELAY_STEP))
    delays = torch.arange(-steps, steps + 1, dtype=torch.float64, device=cross.device) * _DELAY_STEP
    inner = torch.arange(heard.shape[1], device=heard.device)[:, None]
    heard = heard.where((inner > 0) & (inner < heard.shape[1] - 1), 0.0)  # the others have no phase
    histogram = phase_histogram(cross, heard)[:, 0]
    total = histogram.sum((-2, -1), keepdim=True)
    weights = delay_weights(histogram / total.masked_fill(total == 0, 1.0), delays, n_fft)
    either = weights.sum(1)
    centre = (either * delays).sum(-1, keepdim=True)
    variance = (either * (delays - centre).square()).sum(-1, keepdim=True)
    spread = variance.clamp(min=_LEAST_DELAY_SPREAD**2).sqrt()
    chosen, index = weights.flatten(1).topk(min(_MODES, 2 * len(delays)))
    places: Int[Tensor, "P K"] = index % len(delays)
    return delays[places], 1.0 - 2.0 * (index >= len(delays)), chosen, centre, spread


def _unit(values: Complex[Tensor, "*any"]) -> Complex[Tensor, "*any"]:
    """Numbers of length one with the same phases; zero for zero."""
    length = values.abs()
    silent = length == 0
    return values.masked_fill(silent, 0.0) / length.masked_fill(silent, 1.0)


def _standardised(
    values: Float[Tensor, "P F N"], shares: Float[Tensor, "P F N"], least: float
) -> Float[Tensor, "P F N"]:
    """Values less their mean, over their standard deviation or the least one."""
    centred = values - (shares * values).sum((-2, -1), keepdim=True)
    variance = (shares * centred.square()).sum((-2, -1), keepdim=True)
    return centred / variance.clamp(min=least**2).sqrt()
