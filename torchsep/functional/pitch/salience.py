"""Pitch salience by harmonic summation of spectral peaks."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from torchsep.checks import check_integer, check_number
from torchsep.functional._chunks import BlockSize

__all__ = ["equal_loudness", "harmonic_summation", "salient_pitches", "spectral_peaks"]

_CENTS_PER_BIN = 10
_OCTAVE = 1200
_SEMITONE = 100
_HARMONICS = 20
_HARMONIC_WEIGHT = 0.85
_WEAKEST_PEAK = 0.01  # of the strongest in the frame, -40 dB
_HIGHEST_PEAK = 5000.0  # Hz; higher harmonics hardly contribute to perceived pitch or, as measured, to the melody
_HOPS_PER_WINDOW = 8
_BINS_PER_LOBE = 4  # by zero padding: the first zero of the window's transform is 8 bins from its centre

# Complex values of spectra that are processed together.
_BLOCK = BlockSize(cpu=1 << 19, accelerator=1 << 25)


def equal_loudness(frequencies_hz: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """A-weighting: the amplitude gain of the equal-loudness weighting of sound level meters, one at 1 kHz.

    Args:
        frequencies_hz: frequencies in Hz.

    Example:
        >>> equal_loudness(torch.tensor([0.0, 100.0, 1000.0, 3000.0])).round(decimals=2)
        tensor([0.0000, 0.1100, 1.0000, 1.1500])

    References:
        International Electrotechnical Commission, "Electroacoustics - Sound level meters", IEC 61672-1, 2013.
    """
    square = frequencies_hz.square()
    low = (square + 20.598997**2) * ((square + 107.65265**2) * (square + 737.86223**2)).sqrt()
    return 10**0.1 * 12194.217**2 * square.square() / (low * (square + 12194.217**2))


def spectral_peaks(
    frames: Float[Tensor, "B C N L"], sample_rate: float, max_frequency_hz: float
) -> tuple[tuple[Tensor, Tensor], Float[Tensor, " P"], Float[Tensor, " P"]]:
    r"""The spectral peaks of each frame, over all channels jointly, with their instantaneous frequencies.

    The instantaneous frequency, the derivative of the phase, needs a single transform: the transforms with a Hann
    window and with its derivative are sums of three and of two neighbouring bins of the transform without a window.

    .. math::
        \omega = \omega_k - \frac{\sum_c \Im(D_{ck} \bar X_{ck})}{\sum_c |X_{ck}|^2}

    The power of the channels is summed, so the result does not depend on their phase differences.

    Args:
        frames: frames of the signal, not windowed.
        sample_rate: sample rate in Hz.
        max_frequency_hz: maximum frequency of the peaks in Hz, limited to half the sample rate.

    Returns:
        The item and the frame of each peak, its frequency in Hz, and its amplitude weighted by :func:`equal_loudness`.
        Peaks 40 dB below the strongest one of the frame are omitted.

    Example:
        >>> time = torch.arange(400, dtype=torch.float64) / 8000
        >>> tones = torch.sin(2 * torch.pi * 441.3 * time) + torch.sin(2 * torch.pi * 911.9 * time)
        >>> (item, frame), frequency, amplitude = spectral_peaks(tones[None, None, None], 8000, 2000.0)
        >>> frequency[amplitude > 0.1 * amplitude.max()].round(decimals=1)
        tensor([441.3000, 911.9000], dtype=torch.float64)
    """
    length, lobe = frames.shape[-1], _BINS_PER_LOBE
    spacing = sample_rate / (lobe * length)
    bins = min(math.ceil(max_frequency_hz / spacing) + 2, lobe * length // 2 + 1 - lobe)
    plain = torch.fft.rfft(frames, n=lobe * length)[..., : bins + lobe]
    around = torch.cat((plain[..., 1 : lobe + 1].conj().flip(-1), plain), -1)  # from lobe bins below zero
    below, above = around[..., :bins], around[..., 2 * lobe :]
    windowed = 0.5 * around[..., lobe : lobe + bins] - 0.25 * (below + above)
    power = (windowed.real.square() + windowed.imag.square()).sum(1)

    weight = equal_loudness(torch.arange(bins, dtype=power.dtype, device=power.device) * spacing)
    amplitude = power.sqrt() * weight
    middle = amplitude[..., 1:-1]
    is_peak = (middle > amplitude[..., :-2]) & (middle >= amplitude[..., 2:])
    is_peak &= middle > _WEAKEST_PEAK * amplitude.amax(-1, keepdim=True)
    item, frame, bin_ = is_peak.nonzero(as_tuple=True)
    bin_ = bin_ + 1

    index = item[:, None], torch.arange(frames.shape[1], device=item.device), frame[:, None], bin_[:, None]
    derivative = (below[index] - above[index]) * (-0.5j * math.pi / length)
    offset = (derivative * windowed[index].conj()).imag.sum(-1) / power[item, frame, bin_]
    frequency = bin_ * spacing - offset * (sample_rate / (2 * math.pi))
    return (item, frame), frequency, amplitude[item, frame, bin_]


def harmonic_summation(
    num_positions: int, pitches: int, offset: int, device: torch.device | str = "cpu"
) -> Float[Tensor, "num_positions pitches"]:
    r"""The weights of harmonic summation, from spectral peaks to pitches, both on a grid of 10 cents.

    A peak contributes to the pitches of which it is a harmonic, with weights decreasing with the harmonic number, and
    to pitches within a semitone of them:

    .. math::
        G_{ij} = \sum_{h = 1}^{20} \alpha^{h - 1} \cos^2\left(\frac{\pi}{2} \delta_{ijh}\right), \quad
        \delta_{ijh} < 1 \text{ semitones between } f_i / h \text{ and } f_j

    Args:
        num_positions: number of grid points of peaks.
        pitches: number of grid points of pitches.
        offset: steps from the first grid point of peaks to that of pitches.
        device: device of the result.
    """
    step = _CENTS_PER_BIN / _SEMITONE
    position = torch.arange(num_positions, dtype=torch.float64, device=device)[:, None] - offset
    pitch = torch.arange(pitches, dtype=torch.float64, device=device)
    weights = torch.zeros(num_positions, pitches, dtype=torch.float64, device=device)
    for harmonic in range(1, _HARMONICS + 1):
        distance = (position - pitch).mul_(step).sub_(_OCTAVE / _SEMITONE * math.log2(harmonic)).abs_().clamp_(max=1.0)
        weights += _HARMONIC_WEIGHT ** (harmonic - 1) * torch.cos(0.5 * math.pi * distance).square()
    return weights


def salient_pitches(
    waveform: Float[Tensor, "B C T"],
    sample_rate: float,
    hop_length: int,
    min_frequency_hz: float = 55.0,
    max_frequency_hz: float = 1760.0,
    count: int = 10,
) -> tuple[Float[Tensor, "B N K"], Float[Tensor, "B N K"]]:
    """The most salient pitches of each frame and their salience, in decreasing order; padded with zeros.

    The salience of a pitch is the weighted sum of the spectral peaks at its harmonics; its local maxima are returned.
    The channels of an item are analysed jointly.

    Args:
        waveform: signals. Frame ``n`` is centred on sample ``n * hop_length``, with a length of eight hops.
        sample_rate: sample rate in Hz.
        hop_length: hop in samples.
        min_frequency_hz: lowest pitch in Hz.
        max_frequency_hz: highest pitch in Hz, limited by half the sample rate.
        count: number of pitches per frame.

    Returns:
        Pitches in cents above ``min_frequency_hz``, and their salience, which scales with the signal; in double
        precision, so that the choice of contours does not depend on rounding.

    Gradient:
        None: peaks are discrete.

    Example:
        >>> time = torch.arange(4000) / 8000
        >>> tone = sum(torch.sin(2 * torch.pi * 220 * h * time) / h for h in (1, 2, 3, 4))
        >>> pitch, salience = salient_pitches(tone.view(1, 1, -1), 8000, hop_length=48)
        >>> round(pitch[0, 40, 0].item())  # two octaves above 55 Hz
        2400

    References:
        J. Salamon, E. Gomez and J. Bonada, "Sinusoid extraction and salience function design for predominant melody
        estimation", DAFx, 2011.
    """
    check_integer(hop_length, "hop_length", at_least=1)
    check_integer(count, "count", at_least=1)
    check_number(min_frequency_hz, "min_frequency_hz", above=0.0)
    check_number(max_frequency_hz, "max_frequency_hz", above=min_frequency_hz)
    items, channels, samples = waveform.shape
    frames, length = 1 + math.ceil(samples / hop_length), _HOPS_PER_WINDOW * hop_length
    pitch = torch.zeros(items, frames, count, dtype=torch.float64, device=waveform.device)
    salience = torch.zeros_like(pitch)
    top = min(_HIGHEST_PEAK, 0.5 * sample_rate - sample_rate / length)
    steps = _OCTAVE / _CENTS_PER_BIN
    # An additional bin at either end identifies the maxima inside.
    pitches = math.floor(steps * math.log2(max(min(max_frequency_hz, top) / min_frequency_hz, 1e-9))) + 3
    if pitches < 4:
        return pitch, salience
    offset = _SEMITONE // _CENTS_PER_BIN + 2
    positions = math.ceil(steps * math.log2(top / min_frequency_hz)) + offset + 2
    weights = harmonic_summation(positions, pitches, offset - 1, waveform.device)
    before = length // 2
    whole = (frames - 1) * hop_length + length
    framed = F.pad(waveform.detach(), (before, whole - before - samples)).unfold(-1, length, hop_length)

    block = _BLOCK.on(waveform.device)
    together = max(1, block // (items * channels * _BINS_PER_LOBE * length // 2))
    for first in range(0, frames, together):
        part = slice(first, min(first + together, frames))
        rows = items * (part.stop - first)
        (item, frame), frequency, amplitude = spectral_peaks(framed[:, :, part].double(), sample_rate, top)
        position = steps * torch.log2(frequency.clamp(min=1e-3) / min_frequency_hz) + offset
        inside = (position >= 0) & (position < positions - 1)
        row = item * (part.stop - first) + frame
        peaks = _on_grid(row[inside], position[inside], amplitude[inside], (rows, positions))
        found = _local_maxima(peaks @ weights, count)
        pitch[:, part], salience[:, part] = (values.view(items, -1, count) for values in found)
    return pitch, salience


def _on_grid(row: Tensor, position: Tensor, amplitude: Tensor, shape: tuple[int, int]) -> Tensor:
    """A grid on which each amplitude is distributed linearly to the two nearest points of its row."""
    below = position.floor()
    fraction, index = position - below, row * shape[1] + below.long()
    grid = amplitude.new_zeros(shape[0] * shape[1])
    grid.index_add_(0, index, amplitude * (1 - fraction)).index_add_(0, index + 1, amplitude * fraction)
    return grid.view(shape)


def _local_maxima(salience: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The positions, in cents from the second value, and the values of the largest local maxima of rows."""
    left, middle, right = salience[:, :-2], salience[:, 1:-1], salience[:, 2:]
    is_peak = (middle > left) & (middle >= right)
    value, index = middle.where(is_peak, 0.0).topk(min(count, middle.shape[-1]), -1)
    low, high = left.gather(-1, index), right.gather(-1, index)
    curvature = 2 * value - low - high  # the vertex of the parabola through three values
    vertex = torch.where((value > 0) & (curvature > 0), 0.5 * (high - low) / curvature, 0.0)
    missing = (0, count - value.shape[-1])
    cents = torch.where(value > 0, (index + vertex) * _CENTS_PER_BIN, 0.0)
    return F.pad(cents, missing), F.pad(value, missing)
