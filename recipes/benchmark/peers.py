"""Peer implementations: functions of librosa and SciPy, and NumPy versions where these have none.

All take NumPy arrays. They are vectorised and use float32, unless they reproduce another program.
The STFT is librosa's with torchsep's parameters. Padded waveforms have a multiple of the hop length, so that librosa
has the same number of frames as torchsep.
"""

import math

import librosa
import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.signal

SAMPLE_RATE = 44100
N_FFT = 2048
HOP_LENGTH = 512
WINDOW = np.sqrt(scipy.signal.get_window("hann", N_FFT)).astype(np.float32)


def padded(waveform):
    """Zero-pad a waveform to a multiple of the hop length."""
    missing = -waveform.shape[-1] % HOP_LENGTH
    return np.pad(waveform, [(0, 0)] * (waveform.ndim - 1) + [(0, missing)])


def stft(padded_waveform):
    return librosa.stft(padded_waveform, n_fft=N_FFT, hop_length=HOP_LENGTH, window=WINDOW, pad_mode="constant")


def inverse(spectrogram, length):
    return librosa.istft(spectrogram, n_fft=N_FFT, hop_length=HOP_LENGTH, window=WINDOW, length=length)


def median_filter_by_rows(x, size, axis):
    """SciPy's median filter along one axis, called row by row, for which it has a faster algorithm."""
    rows = np.ascontiguousarray(np.moveaxis(x, axis, -1))
    filtered = np.empty_like(rows)
    for row, target in zip(rows.reshape(-1, rows.shape[-1]), filtered.reshape(-1, rows.shape[-1]), strict=True):
        scipy.ndimage.median_filter(row, size, output=target, mode="reflect")
    return np.moveaxis(filtered, -1, axis)


def hpss_masks(magnitude):
    return librosa.decompose.hpss(magnitude, kernel_size=31, power=2.0, margin=1.0, mask=True)


def hpss(padded_waveform, length):
    spectrogram = stft(padded_waveform)
    parts = librosa.decompose.hpss(spectrogram, kernel_size=31, power=2.0, margin=1.0, mask=False)
    return [inverse(part, length) for part in parts]


def hpss_by_rows(padded_waveform, length):
    """HPSS with the faster median filter."""
    spectrogram = stft(padded_waveform)
    magnitude = np.abs(spectrogram)
    harmonic = median_filter_by_rows(magnitude, 31, axis=-1)
    percussive = median_filter_by_rows(magnitude, 31, axis=-2)
    larger = np.maximum(harmonic, percussive)
    larger[larger == 0] = 1.0
    first, second = (harmonic / larger) ** 2, (percussive / larger) ** 2
    total = first + second
    silent = total == 0
    total[silent] = 1.0
    mask = np.where(silent, np.float32(0.5), first / total)
    return [inverse(spectrogram * part, length) for part in (mask, 1 - mask)]


def repet(padded_waveform, length, min_period=0.8, max_period=8.0, high_pass_cutoff_hz=100.0):
    spectrogram = stft(padded_waveform)
    magnitude = np.abs(spectrogram)
    segment, period = repeating_segment(magnitude, min_period, max_period)
    repetitions = -(-magnitude.shape[-1] // period)
    background = np.tile(segment, repetitions)[..., : magnitude.shape[-1]]
    mask = np.ones_like(magnitude)
    np.divide(np.minimum(background, magnitude), magnitude, out=mask, where=magnitude > 0)
    mask[..., librosa.fft_frequencies(sr=SAMPLE_RATE, n_fft=N_FFT) < high_pass_cutoff_hz, :] = 1.0
    return [inverse(spectrogram * part, length) for part in (mask, 1 - mask)]


def repeating_segment(magnitude, min_period, max_period):
    """One period of the background ``(C, F, P)``, and its length in frames."""
    frames = magnitude.shape[-1]
    n_fft = scipy.fft.next_fast_len(2 * frames, real=True)
    transformed = scipy.fft.rfft(magnitude**2, n=n_fft)
    power = (transformed.real**2 + transformed.imag**2).mean((0, 1))
    beat_spectrum = scipy.fft.irfft(power, n=n_fft)[:frames] / np.arange(frames, 0, -1)
    shortest = math.ceil(min_period * SAMPLE_RATE / HOP_LENGTH)
    longest = min(math.floor(max_period * SAMPLE_RATE / HOP_LENGTH), (frames - 1) // 3)
    period = shortest + int(beat_spectrum[shortest : longest + 1].argmax())
    # Complete repetitions first, then the partial one; missing values are infinite and so sorted last.
    whole, partial = divmod(frames, period)
    ordered = np.full((whole + 1, *magnitude.shape[:-1], period), np.inf, dtype=magnitude.dtype)
    ordered[:whole] = np.moveaxis(magnitude[..., : whole * period].reshape(*ordered.shape[1:-1], whole, period), -2, 0)
    ordered[whole, ..., :partial] = magnitude[..., whole * period :]
    ordered.sort(axis=0)
    segment = np.empty_like(ordered[0])
    for phases, count in ((slice(partial), whole + 1), (slice(partial, None), whole)):
        segment[..., phases] = (ordered[(count - 1) // 2, ..., phases] + ordered[count // 2, ..., phases]) / 2
    return segment, period


def repet_sim(padded_waveform, length, min_distance=1.0, max_frames=100, threshold=0.0, high_pass_cutoff_hz=100.0):
    """REPET-SIM in double precision, with a general peak search in each row of the similarity matrix.

    As in nussl 1.1.9, frames are compared by the mean over channels, rows are scaled to [0, 1] before peak picking, and
    spectrograms are stored bin by bin, so that frames are not contiguous.
    """
    spectrogram = np.ascontiguousarray(stft(padded_waveform.astype(np.float64)))
    magnitude = np.abs(spectrogram)
    frames = magnitude.shape[-1]
    compared = magnitude.mean(0).T
    similarity = compared @ compared.T
    with np.errstate(divide="ignore"):
        level = 1 / np.sqrt(np.diag(similarity))
    level[np.isinf(level)] = 0.0
    similarity = (similarity * level).T * level
    distance = min_distance * SAMPLE_RATE / HOP_LENGTH
    similar = [peaks(row, max_frames, distance, threshold)[1:] for row in similarity]  # the first is the frame itself
    masks = []
    for channel in magnitude:
        background = np.ones_like(channel)
        for frame in range(frames):
            if similar[frame]:
                background[:, frame] = np.median(np.array([channel[:, other] for other in similar[frame]]), axis=0)
        tiny = 1e-16
        masks.append((np.minimum(background, channel) + tiny) / (channel + tiny))
    mask = np.stack(masks)
    mask[:, librosa.fft_frequencies(sr=SAMPLE_RATE, n_fft=N_FFT) < high_pass_cutoff_hz] = 1.0
    return [inverse(spectrogram * part, length) for part in (mask, 1 - mask)]


def peaks(values, count, distance, threshold):
    """Positions of the largest values with a minimum distance."""
    values = np.array(values, dtype=float)
    values -= values.min()
    values /= values.max()
    values = values * (values >= threshold)
    found = []
    for _ in range(count):
        (peak,) = np.unravel_index(np.argmax(values.flatten()), values.shape)
        found.append(int(peak))
        values[int(max(0, peak - distance)) : int(min(len(values), peak + distance + 1))] = 0.0
        if values.sum() == 0.0:
            break
    return found


def repet_sim_lean(padded_waveform, length, min_distance=1.0, max_frames=100, high_pass_cutoff_hz=100.0):
    """REPET-SIM frame by frame, without redundant work."""
    spectrogram = stft(padded_waveform)
    magnitude = np.abs(spectrogram)
    columns = magnitude.mean(0)
    units = columns / np.maximum(np.linalg.norm(columns, axis=0), np.finfo(np.float32).tiny)
    similarity = units.T @ units
    distance = math.ceil(min_distance * SAMPLE_RATE / HOP_LENGTH)
    mask = np.empty_like(magnitude)
    for frame, row in enumerate(similarity):
        row[max(0, frame - distance + 1) : frame + distance] = -1.0
        similar = []
        while len(similar) < max_frames and row.max() > 0:
            best = int(row.argmax())
            similar.append(best)
            row[max(0, best - distance + 1) : best + distance] = -1.0
        background = np.median(magnitude[..., similar or [frame]], axis=-1)
        own = magnitude[..., frame]
        mask[..., frame] = np.minimum(background, own) / np.maximum(own, np.finfo(np.float32).tiny)
    mask[..., librosa.fft_frequencies(sr=SAMPLE_RATE, n_fft=N_FFT) < high_pass_cutoff_hz, :] = 1.0
    return [inverse(spectrogram * part, length) for part in (mask, 1 - mask)]


def ft2d(padded_waveform, length, size=(1, 25), high_pass_cutoff_hz=100.0):
    spectrogram = stft(padded_waveform)
    magnitude = np.abs(spectrogram)
    mask = np.stack([repeating_mask(channel, size) for channel in magnitude])
    mask[..., librosa.fft_frequencies(sr=SAMPLE_RATE, n_fft=N_FFT) < high_pass_cutoff_hz, :] = 1.0
    return [inverse(spectrogram * part, length) for part in (mask, 1 - mask)]


def repeating_mask(magnitude, size):
    """Mask of the peaks of the 2D Fourier transform of one channel ``(F, N)``."""
    transform = scipy.fft.fft2(magnitude)
    level = np.abs(scipy.fft.fftshift(transform)) / magnitude.sum()
    largest = scipy.ndimage.maximum_filter(level, size, mode="wrap")
    mean = scipy.ndimage.uniform_filter(level, size, mode="wrap")
    deviation = np.sqrt(np.maximum(scipy.ndimage.uniform_filter(level**2, size, mode="wrap") - mean**2, 1e-14))
    prominence = np.where(np.isclose(level, largest, rtol=1e-6, atol=0), (level - mean) / deviation, 0.0)
    prominence /= prominence.max()
    weights = scipy.fft.ifftshift(np.maximum(prominence, np.fliplr(prominence)))
    background = np.abs(scipy.fft.ifft2(transform * weights))
    return np.minimum(background, magnitude) / np.maximum(magnitude, np.finfo(magnitude.dtype).tiny)


def high_low_pass_filter(padded_waveform, length, cutoff_hz):
    spectrogram = stft(padded_waveform)
    high = (librosa.fft_frequencies(sr=SAMPLE_RATE, n_fft=N_FFT) > cutoff_hz)[:, None]
    return [inverse(spectrogram * part, length) for part in (~high, high)]


def ideal_binary_mask(padded_waveform, padded_sources, length):
    """Ideal binary mask of two sources; ties go to the first."""
    spectrogram = stft(padded_waveform)
    first, second = np.abs(stft(padded_sources))
    dominant = second > first
    return [inverse(spectrogram * part, length) for part in (~dominant, dominant)]


def ideal_ratio_mask(padded_waveform, padded_sources, length):
    """Ideal ratio mask of phase-sensitive magnitudes."""
    spectrogram = stft(padded_waveform)
    sources = stft(padded_sources)
    magnitude = np.abs(spectrogram)
    # Real part of the product with the conjugate.
    along = sources.real * spectrogram.real + sources.imag * spectrogram.imag
    np.divide(along, magnitude, out=along, where=magnitude > 0)
    np.clip(along, 0.0, magnitude, out=along)
    total = along.sum(0)
    silent = total == 0
    total[silent] = 1.0
    masks = along / total
    masks[:, silent] = 1 / len(masks)
    return inverse(spectrogram * masks, length)
