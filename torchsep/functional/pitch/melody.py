"""Predominant melody extraction by selection of pitch contours."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from torchsep.functional._custom_ops import operator
from torchsep.functional.pitch.contours import Contours, pitch_contours
from torchsep.functional.pitch.salience import salient_pitches

__all__ = ["predominant_melody", "select_melody"]

# Constants of the method's authors (Salamon and Gomez, 2012), in seconds and cents.
_SHORTEST = 0.1
_LONGEST_GAP = 0.1
_MAX_JUMP = 80.0
_WIDE = 40.0  # standard deviation of the pitch above which a contour is melodic
_OCTAVE = 1200.0
_OCTAVE_TOLERANCE = 50.0
_SMOOTHING = 5.0
_ITERATIONS = 3

# Vibrato: rates in Hz, and minima of its proportion of the pitch variance, of its duration and of its deviation.
_VIBRATO_RATES = (5.0, 5.5, 6.0, 6.5, 7.0, 7.5, 8.0)
_VIBRATO_PROPORTION = 0.5
_VIBRATO_LENGTH = 0.3
_VIBRATO_DEVIATION = 10.0


def predominant_melody(
    waveform: Float[Tensor, "B C T"],
    sample_rate: float,
    hop_length: int,
    min_frequency_hz: float = 55.0,
    max_frequency_hz: float = 1760.0,
    voicing_tolerance: float = 0.2,
    min_salience: float = 0.0,
) -> Float[Tensor, "B N"]:
    """The pitch of the predominant melody in each frame in Hz, zero where unvoiced.

    Args:
        waveform: signals, whose channels are analysed jointly.
        sample_rate: sample rate in Hz.
        hop_length: hop in samples; frame ``n`` is centred on sample ``n * hop_length``.
        min_frequency_hz: lowest pitch in Hz.
        max_frequency_hz: highest pitch in Hz.
        voicing_tolerance: number of standard deviations by which the salience of a contour may be below the mean.
        min_salience: minimum salience of pitches, relative to the maximum of the item.

    Gradient:
        None: a melody is discrete.

    Example:
        >>> time = torch.arange(4000) / 8000
        >>> tone = sum(torch.sin(2 * torch.pi * 220 * h * time) / h for h in (1, 2, 3, 4))
        >>> predominant_melody(tone.view(1, 1, -1), 8000, hop_length=48)[0, 40:43].round()
        tensor([220., 220., 220.])
    """
    pitch: Tensor = _predominant_melody(
        waveform.detach(),
        sample_rate,
        hop_length,
        min_frequency_hz,
        max_frequency_hz,
        voicing_tolerance,
        min_salience,
    )
    return pitch


@operator(
    lambda waveform, sample_rate, hop_length, *settings: waveform.new_empty(  # noqa: ARG005
        len(waveform), 1 + -(-waveform.shape[-1] // hop_length)
    )
)
def _predominant_melody(
    waveform: Tensor,
    sample_rate: float,
    hop_length: int,
    min_frequency_hz: float,
    max_frequency_hz: float,
    voicing_tolerance: float,
    min_salience: float,
) -> Tensor:
    pitch, salience = salient_pitches(waveform, sample_rate, hop_length, min_frequency_hz, max_frequency_hz)
    if min_salience > 0:
        salience = salience.where(salience >= min_salience * salience.amax((1, 2), keepdim=True), 0.0)
    period = hop_length / sample_rate
    contours = pitch_contours(pitch, salience, _MAX_JUMP, round(_LONGEST_GAP / period))
    cents = select_melody(contours, (len(pitch), pitch.shape[1]), period, voicing_tolerance)
    return torch.where(cents.isnan(), 0.0, min_frequency_hz * torch.exp2(cents / _OCTAVE)).to(waveform.dtype)


def select_melody(
    contours: Contours, shape: tuple[int, int], period: float, voicing_tolerance: float
) -> Float[Tensor, "B N"]:
    """The pitch of the melody in each frame, NaN where unvoiced.

    Contours must be long enough and salient, or have the vibrato or wide range of a voice. Of two simultaneous contours
    an octave apart, the one farther from the smoothed mean pitch is removed (octave errors), then all contours more
    than an octave from the mean (pitch outliers). The mean is updated and both steps are repeated three times. The
    remaining contour with the largest total salience at a frame is the melody.

    Args:
        contours: contours of a batch.
        shape: number of items and frames.
        period: frame period in seconds.
        voicing_tolerance: number of standard deviations by which the salience of a contour may be below the mean.
    """
    melody = contours.pitch.new_full((shape[0] * shape[1],), torch.nan)
    total = contours.total(contours.salience)
    voiced = _voiced(contours, shape, period, voicing_tolerance)
    pairs = _octave_pairs(contours, voiced)
    smoothing = max(0, round(0.5 * _SMOOTHING / period))
    chosen = voiced
    mean = _mean_pitch(contours, chosen, total, shape, smoothing)
    for _ in range(_ITERATIONS):
        distance = contours.mean(contours.pitch - mean[contours.row]).abs()
        farther = torch.where(distance[pairs[0]] > distance[pairs[1]], pairs[0], pairs[1])
        chosen = voiced.index_fill(0, farther, False)
        mean = _mean_pitch(contours, chosen, total, shape, smoothing)
        distance = contours.mean(contours.pitch - mean[contours.row]).abs()
        chosen &= distance <= _OCTAVE
        mean = _mean_pitch(contours, chosen, total, shape, smoothing)

    rank = torch.empty_like(contours.item)
    rank[total.argsort(stable=True)] = torch.arange(len(total), device=total.device)
    points = chosen[contours.contour].nonzero()[:, 0]
    row, of_point = contours.row[points], rank[contours.contour[points]]
    best = torch.full_like(melody, -1, dtype=torch.long).scatter_reduce_(0, row, of_point, "amax")
    points = points[of_point == best[row]]
    melody[contours.row[points]] = contours.pitch[points]
    return melody.view(shape)


def _voiced(contours: Contours, shape: tuple[int, int], period: float, tolerance: float) -> Bool[Tensor, " M"]:
    """Whether each contour may be part of the melody."""
    seconds = contours.length * period
    long = seconds >= _SHORTEST
    deviation = (contours.pitch - contours.mean(contours.pitch)[contours.contour]).square()
    deviation = contours.mean(deviation).sqrt()
    vibrato = (seconds >= _VIBRATO_LENGTH) & (deviation >= _VIBRATO_DEVIATION)
    vibrato &= _periodic_proportion(contours, shape[1], period) >= _VIBRATO_PROPORTION

    salience = contours.mean(contours.salience)
    weight = long.to(salience.dtype)

    def mean_of_item(values: Tensor) -> Tensor:
        sums = values.new_zeros(2, shape[0]).index_add_(1, contours.item, torch.stack((values * weight, weight)))
        return (sums[0] / sums[1].clamp(min=1.0))[contours.item]

    mean = mean_of_item(salience)
    threshold = mean - tolerance * mean_of_item((salience - mean).square()).sqrt()
    return long & ((salience >= threshold) | vibrato | (deviation > _WIDE))


def _periodic_proportion(contours: Contours, frames: int, period: float) -> Float[Tensor, " M"]:
    """The largest proportion of each contour's pitch variance explained by a sinusoid at one of the vibrato rates."""
    time = (contours.row % frames) * period
    swing = contours.pitch - contours.mean(contours.pitch)[contours.contour]
    energy = contours.total(swing.square()) * contours.length
    proportion = torch.zeros_like(energy)
    for rate in _VIBRATO_RATES:
        phase = 2 * math.pi * rate * time
        power = contours.total(swing * phase.cos()).square() + contours.total(swing * phase.sin()).square()
        proportion = torch.maximum(proportion, 2 * power)
    return proportion / energy.where(energy > 0, 1.0)


def _octave_pairs(contours: Contours, voiced: Bool[Tensor, " M"]) -> Int[Tensor, "2 Q"]:
    """The pairs of contours that are an octave apart on average over their common frames."""
    number = len(contours.item)
    points = voiced[contours.contour].nonzero()[:, 0]
    points = points[contours.row[points].argsort(stable=True)]
    row, contour, pitch = contours.row[points], contours.contour[points], contours.pitch[points]
    keys, distances = [row[:0]], [pitch[:0]]
    most = int(torch.bincount(row).max()) if len(row) else 0
    for offset in range(1, most):  # the points of a frame are adjacent, sorted by contour
        first = (row[offset:] == row[:-offset]).nonzero()[:, 0]
        keys.append(contour[first] * number + contour[first + offset])
        distances.append(pitch[first] - pitch[first + offset])
    pair, which = torch.cat(keys).unique(return_inverse=True)
    distance = torch.cat(distances)
    sums = distance.new_zeros(2, len(pair)).index_add_(1, which, torch.stack((distance, torch.ones_like(distance))))
    pair = pair[((sums[0] / sums[1]).abs() - _OCTAVE).abs() <= _OCTAVE_TOLERANCE]
    return torch.stack((pair // max(number, 1), pair % max(number, 1)))


def _mean_pitch(
    contours: Contours, chosen: Bool[Tensor, " M"], total: Float[Tensor, " M"], shape: tuple[int, int], reach: int
) -> Float[Tensor, " R"]:
    """The mean pitch of the chosen contours, weighted by total salience, smoothed over ``reach`` frames either way."""
    weight = (total * chosen)[contours.contour]
    values = torch.stack((weight * contours.pitch, weight))
    weighted, weights = weight.new_zeros(2, shape[0] * shape[1]).index_add_(1, contours.row, values)
    present = weights > 0
    mean = torch.where(present, weighted / weights.where(present, 1.0), 0.0)
    sums = torch.stack((mean, present.to(mean.dtype))).view(2, *shape).cumsum(-1)
    sums = torch.nn.functional.pad(sums, (1, 0))
    frame = torch.arange(shape[1], device=sums.device)
    smoothed, number = sums[..., (frame + reach + 1).clamp(max=shape[1])] - sums[..., (frame - reach).clamp(min=0)]
    return (smoothed / number.clamp(min=1.0)).flatten()
