"""The melody out of pitch contours: which of them are sung or played by the leading voice."""

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
_WIDE = 40.0  # standard deviation of the pitch of what moves as only a melody does
_OCTAVE = 1200.0
_OCTAVE_TOLERANCE = 50.0
_SMOOTHING = 5.0
_ITERATIONS = 3

# Of a vibrato: its rates in Hz, its share in the variance of the pitch, and its least length and deviation.
_VIBRATO_RATES = (5.0, 5.5, 6.0, 6.5, 7.0, 7.5, 8.0)
_VIBRATO_SHARE = 0.5
_VIBRATO_LENGTH = 0.3
_VIBRATO_DEVIATION = 10.0


def predominant_melody(
    waveform: Float[Tensor, "B C T"],
    sample_rate: float,
    hop_length: int,
    min_frequency_hz: float = 55.0,
    max_frequency_hz: float = 1760.0,
    voicing_tolerance: float = 0.2,
    least_salience: float = 0.0,
) -> Float[Tensor, "B N"]:
    """The pitch of the leading voice in each frame in Hz, zero where it is silent.

    Args:
        waveform: signals, whose channels are heard together.
        sample_rate: in Hz.
        hop_length: in samples; frame ``n`` is centred on sample ``n * hop_length``.
        min_frequency_hz: pitch in Hz.
        max_frequency_hz: pitch in Hz.
        voicing_tolerance: standard deviations by which a contour may be less salient than the mean.
        least_salience: of pitches, as a share of the most salient one in the item; what is less is not there.

    Gradient:
        None: a melody is a choice.

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
        least_salience,
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
    least_salience: float,
) -> Tensor:
    pitch, salience = salient_pitches(waveform, sample_rate, hop_length, min_frequency_hz, max_frequency_hz)
    if least_salience > 0:
        salience = salience.where(salience >= least_salience * salience.amax((1, 2), keepdim=True), 0.0)
    period = hop_length / sample_rate
    contours = pitch_contours(pitch, salience, _MAX_JUMP, round(_LONGEST_GAP / period))
    cents = select_melody(contours, (len(pitch), pitch.shape[1]), period, voicing_tolerance)
    return torch.where(cents.isnan(), 0.0, min_frequency_hz * torch.exp2(cents / _OCTAVE)).to(waveform.dtype)


def select_melody(
    contours: Contours, shape: tuple[int, int], period: float, voicing_tolerance: float
) -> Float[Tensor, "B N"]:
    """The pitch of the melody in each frame, NaN where it is silent.

    Contours must be long enough, and as salient as most or with a vibrato or a wide range, which tells a voice. Of two
    an octave apart at the same time the one goes that is farther from the mean pitch of all, smoothed over
    seconds; then those more than an octave from that mean go; the mean is found again without them, three
    times. Of those that remain at a frame the one with the largest total salience is the melody.

    Args:
        contours: of a batch.
        shape: number of items and frames.
        period: of frames, in seconds.
        voicing_tolerance: standard deviations by which a contour may be less salient than the mean.
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
    """Which contours may be of the melody."""
    seconds = contours.length * period
    long = seconds >= _SHORTEST
    deviation = (contours.pitch - contours.mean(contours.pitch)[contours.contour]).square()
    deviation = contours.mean(deviation).sqrt()
    vibrato = (seconds >= _VIBRATO_LENGTH) & (deviation >= _VIBRATO_DEVIATION)
    vibrato &= _periodic_share(contours, shape[1], period) >= _VIBRATO_SHARE

    salience = contours.mean(contours.salience)
    weight = long.to(salience.dtype)

    def mean_of_item(values: Tensor) -> Tensor:
        sums = values.new_zeros(2, shape[0]).index_add_(1, contours.item, torch.stack((values * weight, weight)))
        return (sums[0] / sums[1].clamp(min=1.0))[contours.item]

    mean = mean_of_item(salience)
    threshold = mean - tolerance * mean_of_item((salience - mean).square()).sqrt()
    return long & ((salience >= threshold) | vibrato | (deviation > _WIDE))


def _periodic_share(contours: Contours, frames: int, period: float) -> Float[Tensor, " M"]:
    """The largest share in the variance of each contour's pitch of one sinusoid at the rates of a vibrato."""
    time = (contours.row % frames) * period
    swing = contours.pitch - contours.mean(contours.pitch)[contours.contour]
    energy = contours.total(swing.square()) * contours.length
    share = torch.zeros_like(energy)
    for rate in _VIBRATO_RATES:
        phase = 2 * math.pi * rate * time
        power = contours.total(swing * phase.cos()).square() + contours.total(swing * phase.sin()).square()
        share = torch.maximum(share, 2 * power)
    return share / energy.where(energy > 0, 1.0)


def _octave_pairs(contours: Contours, voiced: Bool[Tensor, " M"]) -> Int[Tensor, "2 Q"]:
    """Contours that are an octave apart on the average of the frames in which both are."""
    number = len(contours.item)
    points = voiced[contours.contour].nonzero()[:, 0]
    points = points[contours.row[points].argsort(stable=True)]
    row, contour, pitch = contours.row[points], contours.contour[points], contours.pitch[points]
    keys, distances = [row[:0]], [pitch[:0]]
    most = int(torch.bincount(row).max()) if len(row) else 0
    for apart in range(1, most):  # contours of one frame lie side by side, each earlier one first
        together = (row[apart:] == row[:-apart]).nonzero()[:, 0]
        keys.append(contour[together] * number + contour[together + apart])
        distances.append(pitch[together] - pitch[together + apart])
    pair, which = torch.cat(keys).unique(return_inverse=True)
    distance = torch.cat(distances)
    sums = distance.new_zeros(2, len(pair)).index_add_(1, which, torch.stack((distance, torch.ones_like(distance))))
    pair = pair[((sums[0] / sums[1]).abs() - _OCTAVE).abs() <= _OCTAVE_TOLERANCE]
    return torch.stack((pair // max(number, 1), pair % max(number, 1)))


def _mean_pitch(
    contours: Contours, chosen: Bool[Tensor, " M"], total: Float[Tensor, " M"], shape: tuple[int, int], reach: int
) -> Float[Tensor, " R"]:
    """The mean pitch of the contours chosen, weighted by their total salience, over so many frames either way."""
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
