"""Reading audio files."""

import difflib
import math
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from torchsep.audio.containers import check_complete
from torchsep.audio.formats import AUDIO_SUFFIXES, BLOCK, StrPath, native_path, one_line, one_line_errors
from torchsep.checks import check_integer

__all__ = ["AudioInfo", "check_rate", "count_nonfinite", "open_audio", "probe", "read", "read_blocks"]

_HIGHEST_RATE = 4_000_000  # Hz, above ultrasonic recordings and the bits of DSD
_SHORTEST = 0.032  # seconds of the default transform of a separator
# More samples per byte than a format can hold, even of silence: the longest frame is 65535 samples.
_MOST_SAMPLES = {"MP3": 64}
_MOST_SAMPLES_ELSEWHERE = 2**16


@dataclass(frozen=True)
class AudioInfo:
    """Header of an audio file; ``num_samples`` is per channel, format names are those of soundfile."""

    sample_rate: int
    channels: int
    num_samples: int
    format: str
    subtype: str

    @property
    def duration(self) -> float:
        """Duration in seconds.

        Example:
            >>> AudioInfo(44100, 2, 22050, "WAV", "PCM_24").duration
            0.5
        """
        return self.num_samples / self.sample_rate


def probe(path: StrPath) -> AudioInfo:
    """Read the header of an audio file, without decoding.

    The length of an MP3 file without a length tag (Xing, Info) is libsndfile's estimate from its first frame.

    Args:
        path: path of the audio file.

    Raises:
        OSError: if the file is missing (``FileNotFoundError``), a folder, or not readable.
        ValueError: if the file is not audio, has an unsupported format, has no samples, or is visibly truncated.

    Example:
        >>> import tempfile
        >>> from torchsep import audio
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = audio.write(f"{folder}/silence.flac", torch.zeros(2, 4000), 8000)
        ...     audio.probe(f"{folder}/silence.flac")
        AudioInfo(sample_rate=8000, channels=2, num_samples=4000, format='FLAC', subtype='PCM_24')
    """
    with open_audio(Path(path)) as file:
        return AudioInfo(file.samplerate, file.channels, file.frames, file.format, file.subtype)


def check_rate(path: StrPath, info: AudioInfo) -> None:
    """Raise if the sample rate in the header of a file cannot be right: far above all, for less than 32 ms.

    Transforms have a length in seconds; at such a rate they would take gigabytes for a file of a few bytes.

    Raises:
        ValueError: if it is so.

    Example:
        >>> check_rate("a.wav", AudioInfo(2**31 - 1, 1, 1000, "WAV", "PCM_16"))
        Traceback (most recent call last):
        ...
        ValueError: a.wav: says 1000 samples at 2147483647 Hz, which cannot be right; export it again
    """
    if info.sample_rate > _HIGHEST_RATE and info.duration < _SHORTEST:
        got = f"says {info.num_samples} samples at {info.sample_rate} Hz"
        raise ValueError(one_line(path, f"{got}, which cannot be right; export it again"))


def read(path: StrPath, offset: float = 0.0, duration: float | None = None) -> tuple[Tensor, int]:
    """Read an audio file: the waveform ``(C, T)`` in float32 and the sample rate in Hz.

    A variable bit rate MP3 file without a length tag may be read incompletely, see :func:`probe`.

    Args:
        path: path of the audio file.
        offset: start in seconds.
        duration: maximum duration in seconds; None reads to the end.

    Raises:
        OSError: as for :func:`probe`.
        MemoryError: if the samples do not fit into memory.
        ValueError: as for :func:`probe`; or if ``offset`` or ``duration`` is out of range, the file is damaged or
            truncated, or samples are NaN or infinite.

    Example:
        >>> import tempfile
        >>> from torchsep import audio
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = audio.write(f"{folder}/silence.wav", torch.zeros(2, 4000), 8000)
        ...     waveform, sample_rate = audio.read(f"{folder}/silence.wav", offset=0.1, duration=0.2)
        >>> waveform.shape, sample_rate
        (torch.Size([2, 1600]), 8000)
    """
    path = Path(path)
    if not 0 <= offset < math.inf:
        raise ValueError(one_line(path, f"offset must be a finite number of seconds >= 0, got {offset}"))
    if duration is not None and not duration > 0:
        raise ValueError(one_line(path, f"duration must be a number of seconds > 0 or None, got {duration}"))
    with open_audio(path) as file:
        rate, end = file.samplerate, file.frames
        start = round(min(offset * rate, end))
        if start >= end:
            raise ValueError(one_line(path, f"offset must lie before the end at {end / rate:g} s, got {offset}"))
        count = end - start
        if duration is not None and duration * rate < count:
            count = max(1, round(duration * rate))
        waveform = _allocate(path, file.channels, count)
        done = 0
        for block in _decode(path, file, start, count, BLOCK):
            waveform[:, done : done + len(block)] = block.T
            done += len(block)
    return waveform[:, :done].contiguous(), rate


def read_blocks(path: StrPath, size: int = BLOCK) -> Iterator[Tensor]:
    """Iterate over the waveform of an audio file in blocks ``(C, T)`` in float32, in constant memory.

    Args:
        path: path of the audio file.
        size: number of samples in each block; the last may be shorter.

    Raises:
        OSError: as for :func:`probe`, when the first block is read.
        ValueError: as for :func:`read`; for NaN or infinite samples, when their block is read.

    Example:
        >>> import tempfile
        >>> from torchsep import audio
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = audio.write(f"{folder}/silence.wav", torch.zeros(2, 4000), 8000)
        ...     [block.shape[1] for block in read_blocks(f"{folder}/silence.wav", size=1500)]
        [1500, 1500, 1000]
    """
    path = Path(path)
    check_integer(size, "size", at_least=1)
    with open_audio(path) as file:
        for block in _decode(path, file, 0, file.frames, size):
            yield block.T.contiguous()


def _allocate(path: Path, channels: int, count: int) -> Tensor:
    """An empty waveform buffer."""
    try:
        return torch.empty(channels, count)
    except RuntimeError as error:
        size = f"{count * channels * 4 / 1e9:.1f} GB"
        raise MemoryError(
            one_line(path, f"needs {size} of memory; read parts of it with offset and duration")
        ) from error


def _decode(path: Path, file: soundfile.SoundFile, start: int, count: int, size: int) -> Iterator[Tensor]:
    """Blocks ``(T, C)`` until the first non-finite sample; errors are raised after everything is decoded."""
    # libsndfile returns wrong samples after a seek into the last page of Ogg Vorbis, of at most 2**20 samples.
    position = min(start, max(0, file.frames - 2**20)) if file.format == "OGG" else start
    done, failed = position - start, False  # done is negative while samples are skipped
    bad, first_bad = 0, 0
    try:
        file.seek(position)
        # In a damaged MP3 a seek may end behind the end, where soundfile would read less than nothing.
        while done < count and file.tell() <= file.frames:
            wanted = min(size, count - done if done >= 0 else -done)
            block = torch.from_numpy(file.read(wanted, dtype="float32", always_2d=True))
            if not len(block):
                break
            if done >= 0:
                found, first = count_nonfinite(block.T)
                first_bad = first_bad if bad else done + first
                bad += found
                if not bad:
                    yield block
            done += len(block)
    except soundfile.LibsndfileError:
        failed = True
    # The length of an MP3 file without a length tag is an estimate, accurate to two blocks of 1152 samples.
    if failed or done < max(1, count - 2304 if file.format == "MP3" else count):
        got = f"only {max(0, done)} samples could be decoded from {start / file.samplerate:g} s on"
        raise ValueError(one_line(path, f"is cut short or damaged, {got}; copy or export it again"))
    if bad:
        where = f"the first at {(start + first_bad) / file.samplerate:.3f} s"
        raise ValueError(one_line(path, f"{bad} samples are NaN or infinite, {where}; export the file again"))


def count_nonfinite(waveform: Tensor) -> tuple[int, int]:
    """Number of samples that are not finite in float32, and the time index of the first."""
    count, first = 0, 0
    for index, block in enumerate(waveform.split(BLOCK, dim=1)):
        bad = ~block.float().isfinite()
        if bad.any():
            first = first if count else index * BLOCK + int(bad.any(dim=0).nonzero()[0])
            count += int(bad.sum())
    return count, first


@contextmanager
def open_audio(path: Path) -> Iterator[soundfile.SoundFile]:
    """Open an audio file after checking that it is supported and appears complete."""
    with one_line_errors(path, "cannot be read"):
        try:
            if path.is_dir():
                raise IsADirectoryError(one_line(path, "is a folder; give the name of a file in it"))
            if path.stat().st_size == 0:
                raise ValueError(one_line(path, "is empty (0 bytes); copy or export it again"))
            with path.open("rb") as stream:
                check_complete(path, stream)
        except FileNotFoundError as error:
            raise FileNotFoundError(_missing(path)) from error
    try:
        opened = soundfile.SoundFile(native_path(path))
    except (soundfile.LibsndfileError, TypeError) as error:  # soundfile raises TypeError for .raw
        raise ValueError(_unsupported(path)) from error
    with opened as file:
        # libsndfile treats any file with suffix .au or .gsm as headerless audio.
        if file.format == "RAW" or not file.seekable():
            raise ValueError(_unsupported(path))
        _check_length(path, file)
        yield file


def _check_length(path: Path, file: soundfile.SoundFile) -> None:
    """Raise unless the header declares a length that the file can have."""
    if file.frames == 0:
        raise ValueError(one_line(path, "holds no samples, or its header was never completed; export it again"))
    if file.frames >= 2**62:  # FLAC from a pipe or an interrupted encoder
        fix = f"ffmpeg -i {shlex.quote(str(path))} -c:a flac complete.flac"
        raise ValueError(one_line(path, f"does not say how long it is; encode it again: {fix}"))
    size = path.stat().st_size
    if file.frames > size * _MOST_SAMPLES.get(file.format, _MOST_SAMPLES_ELSEWHERE):
        got = f"says {file.frames} samples, more than its {size} bytes can hold"
        raise ValueError(one_line(path, f"{got}; its header is damaged, copy or export it again"))


def _missing(path: Path) -> str:
    if path.is_symlink():
        return one_line(path, f"is a link to {path.readlink()}, which does not exist; check the link")
    try:
        names = {name.lower(): name for name in os.listdir(path.parent) if name != path.name}  # noqa: PTH208 - the names are wanted
    except OSError:
        return one_line(path, f"does not exist, nor can its folder {path.parent} be read; check the path")
    near = difflib.get_close_matches(path.name.lower(), names, n=1)
    return one_line(
        path, f"does not exist; {f'did you mean {path.parent / names[near[0]]}?' if near else 'check the path'}"
    )


def _unsupported(path: Path) -> str:
    supported = f"supported are {', '.join(AUDIO_SUFFIXES)}"
    if path.suffix.lower() in AUDIO_SUFFIXES:
        return one_line(path, f"is no audio in spite of its name, or its header is damaged; {supported}")
    convert = f"ffmpeg -i {shlex.quote(str(path))} {shlex.quote(str(path.with_suffix('.wav')))}"
    return one_line(path, f"{path.suffix or 'its format'} is not supported; {supported}; convert it: {convert}")
