"""Synthetic scenes of music and voice, for demonstrations and tests without recordings."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["music_and_voice"]

_Event = tuple[float, Tensor, float, float]  # start in seconds, sound, gain, stereo position
_BEAT = 0.5  # seconds: 120 bpm, and the loop is four beats
_BAND = 0.45  # highest partial relative to the sample rate
_CONTROL_RATE = 200  # Hz, of pitch, vowel and loudness of the voice
_CHORDS = {0: (57, 60, 64, 67), 2: (53, 57, 60, 64)}  # A minor 7, F major 7: the pentatonic of A fits both
_ARPEGGIO = (69, 76, 72, 79, 69, 77, 72, 76)
_BASS = ((0.0, 45, 1.0), (1.0, 45, 0.5), (1.5, 48, 0.5), (2.0, 41, 1.0), (3.0, 41, 0.5), (3.5, 43, 0.5))
_SPREAD = (-0.7, 0.3, -0.3, 0.7)  # positions of the notes of a chord
_SCALE = (57, 60, 62, 64, 67, 69, 72)  # A minor pentatonic, A3 to C5
_STEPS = (-2, -1, -1, 1, 1, 2)
# First four formants in Hz of sung "ah", "oh", "oo" and "eh".
_VOWELS = ((760, 1180, 2700, 3400), (470, 830, 2600, 3200), (350, 680, 2500, 3200), (530, 1720, 2550, 3400))
_FORMANT_GAINS = (1.0, 0.7, 0.5, 0.35)
_FORMANT_WIDTHS = (130.0, 150.0, 220.0, 300.0)  # Hz


def music_and_voice(duration: float = 12.0, sample_rate: int = 44100, seed: int = 0) -> dict[str, Tensor]:
    """Synthesise a music loop and a singing voice, two stereo sources that sum to the mixture.

    The music (drums, bass, chords) repeats exactly every two seconds; the voice sings vowels on a melody that does
    not repeat. Both have equal RMS over the scene, and ``music + voice`` peaks at 0.9. The voice is silent in scenes
    that end before its first note, and a scene of a single sample is silent.

    Args:
        duration: duration of the scene in seconds; ``round(duration * sample_rate)`` samples.
        sample_rate: sample rate in Hz, at least 8000.
        seed: random seed of the melody and of the noise in drums and breath; the melody is independent of the sample
            rate.

    Returns:
        ``{"music": (2, T), "voice": (2, T)}``, float32 on the CPU.

    Raises:
        ValueError: if the duration is not finite or shorter than one sample, or the sample rate is below 8000 Hz.

    Example:
        >>> from torchsep.data.synthetic import music_and_voice
        >>> scene = music_and_voice(duration=3.0, sample_rate=16000)
        >>> mixture = scene["music"] + scene["voice"]
        >>> mixture.shape, round(mixture.abs().max().item(), 3)
        (torch.Size([2, 48000]), 0.9)
    """
    if sample_rate < 8000:
        raise ValueError(f"sample_rate must be at least 8000, got {sample_rate}")
    if not math.isfinite(duration) or round(duration * sample_rate) < 1:
        raise ValueError(f"duration must be finite and at least one sample long, got {duration}")
    samples = round(duration * sample_rate)
    with torch.device("cpu"):  # the generators are on the CPU, whatever the default device
        loop = _loop(sample_rate, torch.Generator().manual_seed(seed))
        music = loop.repeat(1, math.ceil(samples / loop.shape[-1]))[:, :samples]
        voice = _panned(_voice(samples, sample_rate, torch.Generator().manual_seed(seed)), -0.15)
        voice = voice * (_rms(music) / _rms(voice).clamp_min(1e-12))
        gain = 0.9 / (music + voice).abs().max().clamp_min(1e-12)
        return {"music": (gain * music).float(), "voice": (gain * voice).float()}


def _rms(signal: Tensor) -> Tensor:
    """Root mean square over all channels and samples."""
    return signal.square().mean().sqrt()


def _hertz(note: Tensor | float) -> Tensor:
    """Frequency of a MIDI note number."""
    return 440.0 * torch.exp2((torch.as_tensor(note) - 69.0) / 12.0)


def _panned(signal: Tensor, position: float) -> Tensor:
    """Constant-power stereo panning from -1 (left) to 1 (right)."""
    angle = (position + 1.0) * math.pi / 4.0
    return torch.stack([math.cos(angle) * signal, math.sin(angle) * signal])


def _span(length: float, rate: int) -> Tensor:
    """Sample times of an event in seconds."""
    return torch.arange(round(length * rate), dtype=torch.float64) / rate


def _shape(time: Tensor, attack: float, decay: float) -> Tensor:
    """Envelope of an event: smooth rise over ``attack`` seconds, exponential decay, and fade-out at the end."""
    rise = torch.sin(0.5 * math.pi * (time / attack).clamp(max=1.0)).square()
    fall = torch.sin(0.5 * math.pi * ((time[-1] - time) / 0.03).clamp(max=1.0)).square()
    return rise * fall * torch.exp(-decay * time)


def _tone(length: float, rate: int, note: int, attack: float, decay: float) -> Tensor:
    """A plucked note of up to eight partials; higher partials are weaker and decay faster."""
    time, frequency = _span(length, rate), _hertz(note).item()
    tone = torch.zeros_like(time)
    for h in range(1, min(8, int(_BAND * rate / frequency)) + 1):
        tone += torch.sin(2 * math.pi * h * frequency * time) * torch.exp(-decay * h**0.5 * time) / h**1.3
    return tone * _shape(time, attack, 0.0)


def _noise(samples: int, rate: int, band: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Band-pass noise of unit power; the band is lowered for low sample rates."""
    low, high = min(band[0], 0.3 * rate), min(band[1], (_BAND - 0.05) * rate)  # margin for the sidebands of an envelope
    spectrum = torch.fft.rfft(torch.randn(samples, generator=generator))
    frequency = torch.arange(len(spectrum)) * (rate / samples)
    noise: Tensor = torch.fft.irfft(spectrum * ((frequency >= low) & (frequency <= high)), n=samples)
    return noise / _rms(noise).clamp_min(1e-6)


def _drums(rate: int, generator: torch.Generator) -> Iterator[_Event]:
    """Kick on every beat, snare on the second and fourth, hi-hat on eighths, all in the centre."""
    time = _span(_BEAT / 2, rate)
    cycles = 48.0 * time + (130.0 - 48.0) / 30.0 * (1.0 - torch.exp(-30.0 * time))  # falls from 130 Hz to 48 Hz
    kick = torch.sin(2 * math.pi * cycles) * _shape(time, 0.003, 11.0)
    hat = _noise(len(time), rate, (7000.0, 14000.0), generator) * _shape(time, 0.002, 45.0)
    snare = _noise(len(time), rate, (700.0, 9000.0), generator) * _shape(time, 0.002, 22.0)
    for beat in range(4):
        yield _BEAT * beat, kick, 0.9, 0.0
        yield _BEAT * beat, hat, 0.1, 0.0
        yield _BEAT * (beat + 0.5), hat, 0.16, 0.0
        if beat % 2:
            yield _BEAT * beat, 0.5 * snare + _tone(_BEAT / 2, rate, 55, 0.002, 20.0), 0.4, 0.0


def _harmony(rate: int) -> Iterator[_Event]:
    """Bass in the centre, two chords spread over the stereo field, and an arpeggio alternating sides."""
    for beat, note, beats in _BASS:
        yield _BEAT * beat, _tone(_BEAT * beats, rate, note, 0.006, 3.0), 0.4, 0.0
    for beat, chord in _CHORDS.items():
        for note, position in zip(chord, _SPREAD, strict=True):
            yield _BEAT * beat, _tone(2 * _BEAT, rate, note, 0.02, 1.2), 0.2, position
    for eighth, note in enumerate(_ARPEGGIO):
        yield _BEAT * eighth / 2, _tone(_BEAT / 2, rate, note, 0.004, 5.0), 0.16, 0.5 if eighth % 2 else -0.5


def _loop(rate: int, generator: torch.Generator) -> Tensor:
    """Four beats of music ``(2, T)``; every event ends within the loop, so that it repeats without clicks."""
    loop = torch.zeros(2, round(4 * _BEAT * rate), dtype=torch.float64)
    for start, sound, gain, position in (*_drums(rate, generator), *_harmony(rate)):
        event = loop[:, round(start * rate) :][:, : len(sound)]
        event += gain * _panned(sound, position)[:, : event.shape[-1]]
    return loop


def _melody(duration: float, generator: torch.Generator) -> Tensor:
    """Notes ``(notes, 5)`` up to the end of the scene: start and end in seconds, MIDI note, vowel, loudness."""
    rows: list[list[float]] = []
    start, degree, in_phrase = _BEAT / 2, 3, 0
    while not rows or start < duration:
        length, step, vowel, loudness, breath, rest = torch.rand(6, generator=generator).tolist()
        end = start + _BEAT / 4 * (2 + int(6 * length))  # a quarter of a second to seven eighths
        degree += _STEPS[int(6 * step)]
        degree = min(max(degree, -degree), 2 * len(_SCALE) - 2 - degree)  # reflect at both ends of the scale
        rows.append([start, end, float(_SCALE[degree]), float(int(4 * vowel)), 0.7 + 0.3 * loudness])
        start, in_phrase = end, in_phrase + 1
        if in_phrase >= 3 and breath < 0.4:
            start, in_phrase = end + _BEAT / 4 * (2 + int(3 * rest)), 0
    return torch.tensor(rows, dtype=torch.float64)


def _smooth(tracks: Tensor, frames: int) -> Tensor:
    """Smooth each row of ``tracks`` with a Hann window, so that steps become glides."""
    window = torch.hann_window(2 * frames + 3, periodic=False, dtype=tracks.dtype)[1:-1]
    padded = F.pad(tracks[None], (frames, frames), mode="replicate")[0]
    return padded.unfold(-1, len(window), 1) @ (window / window.sum())


def _voice(samples: int, rate: int, generator: torch.Generator) -> Tensor:
    """A singing voice ``(T,)``: harmonics of a gliding pitch shaped by vowel formants, plus breath noise."""
    hop = rate // _CONTROL_RATE
    moments = torch.arange(samples // hop + 2, dtype=torch.float64) * (hop / rate)

    def upsampled(track: Tensor) -> Tensor:
        length = (len(moments) - 1) * hop + 1
        return F.interpolate(track[None, None], size=length, mode="linear", align_corners=True)[0, 0, :samples]

    start, end, note, vowel, loudness = _melody(samples / rate, generator).T.contiguous()
    now = (torch.searchsorted(start, moments, right=True) - 1).clamp_min(0)
    elapsed, left = moments - start[now], end[now] - moments
    level = loudness[now] * (elapsed >= 0) * (left > 0) * torch.where(left > 0.03, 1.0, 0.5)  # a dip between notes
    note, level, depth = _smooth(torch.stack([note[now], level, (elapsed > 0.15).double()]), 6)
    formants = _smooth(torch.tensor(_VOWELS, dtype=torch.float64)[vowel[now].long()].T, 10)

    pitch = _hertz(note + 0.4 * depth * torch.sin(2 * math.pi * 5.5 * moments))  # delayed vibrato
    top = min(8000.0, _BAND * rate)
    harmonics = torch.arange(1, int(top / pitch.min().item()) + 1)[:, None]
    weights = torch.full((len(harmonics), len(moments)), 0.02, dtype=torch.float64)
    for gain, width, centre in zip(_FORMANT_GAINS, _FORMANT_WIDTHS, formants, strict=True):
        weights += gain / (1.0 + ((harmonics * pitch - centre) / width).square())
    weights *= ((top - harmonics * pitch) / (0.1 * top)).clamp(0.0, 1.0) / harmonics  # fade out below the band limit
    weights *= level / torch.linalg.vector_norm(weights, dim=0)  # equal loudness for all vowels and pitches
    cycles = torch.cumsum(upsampled(pitch) / rate, 0)
    phase = (2 * math.pi * (cycles - cycles.floor())).float()
    voice = 0.02 * _noise(samples, rate, (1500.0, 7000.0), generator) * upsampled(level).float()
    for harmonic, weight in enumerate(weights, start=1):
        voice += upsampled(weight.float()) * torch.sin(harmonic * phase)
    return voice
