"""Audio files into tensors."""

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
from torchsep.audio.formats import AUDIO_SUFFIXES, BLOCK, StrPath, one_line, one_line_errors
from torchsep.checks import check_integer

__all__ = ["AudioInfo", "count_nonfinite", "open_audio", "probe", "read", "read_blocks"]


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says; ``num_samples`` counts per channel, names are those of soundfile."""

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
    """What the header of an audio file says, without decoding.

    The length of an MP3 file without a length tag (Xing, Info) is libsndfile's estimate from its first frame.

    Args:
        path: an audio file.

    Raises:
        OSError: if the file is missing (``FileNotFoundError``), a folder, or must not be read.
        ValueError: if the file is no audio, of an unsupported format, without samples, or visibly cut short.

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


def read(path: StrPath, offset: float = 0.0, duration: float | None = None) -> tuple[Tensor, int]:
    """Waveform of an audio file, float32 (channels, samples), and its sample rate in Hz.

    An MP3 file of variable bit rate without a length tag may end early, see :func:`probe`.

    Args:
        path: an audio file.
        offset: where to begin, in seconds.
        duration: how much to read, in seconds, or up to the end where that comes first; None reads up to the end.

    Raises:
        OSError: as for :func:`probe`.
        MemoryError: if the samples do not fit into memory.
        ValueError: as for :func:`probe`; or if offset or duration is negative, offset lies past the end, the file is
            damaged or cut short, or samples are NaN or infinite.

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
        waveform = _room(path, file.channels, count)
        done = 0
        for block in _decode(path, file, start, count, BLOCK):
            waveform[:, done : done + len(block)] = block.T
            done += len(block)
    return waveform[:, :done].contiguous(), rate


def read_blocks(path: StrPath, size: int = BLOCK) -> Iterator[Tensor]:
    """The waveform of an audio file block by block, float32 (channels, samples), in constant memory.

    Args:
        path: an audio file.
        size: samples in each block; the last may have fewer.

    Raises:
        OSError: as for :func:`probe`, when the first block is asked for.
        ValueError: as for :func:`read`; of samples that are NaN or infinite when their block is asked for.

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


def _room(path: Path, channels: int, count: int) -> Tensor:
    """Memory for a waveform."""
    try:
        return torch.empty(channels, count)
    except RuntimeError as error:
        size = f"{count * channels * 4 / 1e9:.1f} GB"
        raise MemoryError(
            one_line(path, f"needs {size} of memory; read parts of it with offset and duration")
        ) from error


def _decode(path: Path, file: soundfile.SoundFile, start: int, count: int, size: int) -> Iterator[Tensor]:
    """Blocks (samples, channels), as long as all samples are finite; what is wrong is said when all are decoded."""
    # libsndfile returns other samples after a seek into the last page of Ogg Vorbis, which holds at most 2**20.
    position = min(start, max(0, file.frames - 2**20)) if file.format == "OGG" else start
    done, failed = position - start, False  # done is negative as long as samples are skipped
    bad, first_bad = 0, 0
    try:
        file.seek(position)
        while done < count:
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
    # The length of an MP3 file without a length tag is an estimate, right to two blocks of 1152 samples.
    if failed or done < max(1, count - 2304 if file.format == "MP3" else count):
        got = f"only {max(0, done)} samples could be decoded from {start / file.samplerate:g} s on"
        raise ValueError(one_line(path, f"is cut short or damaged, {got}; copy or export it again"))
    if bad:
        where = f"the first at {(start + first_bad) / file.samplerate:.3f} s"
        raise ValueError(one_line(path, f"{bad} samples are NaN or infinite, {where}; export the file again"))


def count_nonfinite(waveform: Tensor) -> tuple[int, int]:
    """Number of samples that are no finite float32, and the time index of the first."""
    count, first = 0, 0
    for index, block in enumerate(waveform.split(BLOCK, dim=1)):
        bad = ~block.float().isfinite()
        if bad.any():
            first = first if count else index * BLOCK + int(bad.any(dim=0).nonzero()[0])
            count += int(bad.sum())
    return count, first


@contextmanager
def open_audio(path: Path) -> Iterator[soundfile.SoundFile]:
    """The open file, if it is one that this library reads and its header gives no reason to doubt that it is whole."""
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
        opened = soundfile.SoundFile(str(path))
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError is what .raw gives
        raise ValueError(_unsupported(path)) from error
    with opened as file:
        # libsndfile takes any bytes for headerless audio where the suffix is .au or .gsm.
        if file.format == "RAW" or not file.seekable():
            raise ValueError(_unsupported(path))
        if file.frames == 0:
            raise ValueError(one_line(path, "holds no samples, or its header was never completed; export it again"))
        if file.frames >= 2**62:  # FLAC from a pipe, or from an encoder that did not finish
            fix = f"ffmpeg -i {shlex.quote(str(path))} -c:a flac complete.flac"
            raise ValueError(one_line(path, f"does not say how long it is; encode it again: {fix}"))
        yield file


def _missing(path: Path) -> str:
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
