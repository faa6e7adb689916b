"""Tensors into audio files, all of them or none."""

import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from torchsep.audio.formats import (
    BLOCK,
    SAMPLE_BYTES,
    UNBOUNDED,
    WRITTEN,
    Overflow,
    StrPath,
    check_limits,
    check_overflow,
    choose_subtype,
    holds_floats,
    one_line,
    one_line_errors,
)
from torchsep.audio.reading import count_nonfinite, open_audio
from torchsep.checks import nearest

__all__ = ["Written", "write", "write_sources"]

_RIFF_LIMIT = 2**32 - 2**16  # bytes that a 32 bit size field can announce, less the headers


@dataclass(frozen=True)
class Written:
    """What was done to the samples: subtype in the file, gain applied to all sources, number of samples clipped."""

    subtype: str
    gain: float = 1.0
    clipped: int = 0


def write(
    path: StrPath, waveform: Tensor, sample_rate: int, subtype: str | None = None, overflow: Overflow | None = None
) -> Written:
    """What was done to the samples on their way into an audio file; :func:`write_sources` of one.

    Args:
        path: file to write, .wav .flac .ogg .mp3 .aiff or .aif; missing folders are made.
        waveform: floating point samples (channels, samples) on any device; left as they are.
        sample_rate: in Hz.
        subtype: as for :func:`write_sources`.
        overflow: as for :func:`write_sources`.

    Raises:
        OSError: as for :func:`write_sources`.
        ValueError: as for :func:`write_sources`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(f"{folder}/loud.flac", torch.full((1, 100), 2.0), 8000)
        Written(subtype='PCM_24', gain=0.5, clipped=0)
    """
    _check_samples(path, "waveform", waveform, ("channels", "samples"))
    return _write([Path(path)], "waveform", [waveform.detach()], sample_rate, subtype, overflow)


def write_sources(
    paths: Sequence[StrPath],
    sources: Tensor,
    sample_rate: int,
    subtype: str | None = None,
    overflow: Overflow | None = None,
) -> Written:
    """What was done to the samples on their way into one audio file for each source.

    No file appears or changes before all are complete, on disk and read back; only then are they renamed one by one.
    Integers are rounded, without dither.

    Args:
        paths: one file for each source, all of one format, as for :func:`write`; missing folders are made.
        sources: floating point samples (sources, channels, samples) on any device; left as they are.
        sample_rate: in Hz.
        subtype: encoding as soundfile names it (PCM_16, FLOAT, VORBIS, ...); None is PCM_24, or what the format has.
        overflow: what to do where magnitudes exceed 1.0 and the subtype cannot hold them: write all sources as
            ``float``, ``rescale`` all by one factor so that they still add up to the scaled mixture, or ``clip``; None
            is ``float`` where the format can hold it and ``rescale`` elsewhere.

    Raises:
        OSError: if the folder cannot be written, or the disk is full; nothing is kept.
        ValueError: if the format cannot hold what is asked for, or samples are not floating point, none, or not finite.

    Example:
        >>> import tempfile
        >>> sources = torch.stack([torch.full((1, 100), 0.5), torch.full((1, 100), 2.0)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_sources([f"{folder}/a.wav", f"{folder}/b.wav"], sources, 8000, "PCM_16", overflow="rescale")
        Written(subtype='PCM_16', gain=0.5, clipped=0)
    """
    files = [Path(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    first = files[0] if files else Path()
    _check_samples(first, "sources", sources, ("sources", "channels", "samples"))
    if len(files) != len(sources) or len({os.path.realpath(file) for file in files}) != len(files):
        got = f"got {len(files)} for {len(sources)} sources: {', '.join(map(str, files))}"
        raise ValueError(one_line(first, f"paths must be one different file for each source, {got}"))
    if len({WRITTEN.get(file.suffix.lower()) for file in files}) > 1:
        raise ValueError(
            one_line(first, f"paths must be of one format, got {', '.join(file.suffix for file in files)}")
        )
    return _write(files, "sources", list(sources.detach()), sample_rate, subtype, overflow)


def _check_samples(path: StrPath, name: str, samples: Tensor, axes: tuple[str, ...]) -> None:
    if not isinstance(samples, Tensor) or not samples.is_floating_point():
        got = getattr(samples, "dtype", type(samples).__name__)
        raise ValueError(one_line(path, f"{name} must be a floating point tensor, got {got}"))
    if samples.ndim != len(axes) or not samples.numel():
        rule = f"have the axes ({', '.join(axes)}), none of them empty"
        raise ValueError(one_line(path, f"{name} must {rule}, got shape {tuple(samples.shape)}"))


def _write(
    paths: list[Path], name: str, sources: list[Tensor], rate: int, subtype: str | None, overflow: Overflow | None
) -> Written:
    for path, source in zip(paths, sources, strict=True):
        bad, first = count_nonfinite(source)
        if bad:
            got = f"got {bad} that are not, the first at index {first}"
            raise ValueError(one_line(path, f"{name} must hold finite samples, {got}"))
    form = _form(paths[0])
    with _naming(paths[0]):
        subtype = choose_subtype(form, subtype)
        check_limits(form, subtype, sources[0].shape[0], rate)
        check_overflow(form, overflow)
    written = _fit(sources, form, subtype, overflow)
    form = _container(paths[0], form, sources[0].numel() * SAMPLE_BYTES.get(written.subtype, 1))
    # A link is followed, as every other program which writes to it would.
    targets = [Path(os.path.realpath(path)) for path in paths]
    hidden = [target.with_name(f".torchsep-{uuid.uuid4().hex}{target.suffix}") for target in targets]
    try:
        for path, target, temporary, source in zip(paths, targets, hidden, sources, strict=True):
            with one_line_errors(path, "cannot be written"):
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.is_dir():
                    raise IsADirectoryError(one_line(path, "is a folder; give the name of a file in it"))
                temporary.open("xb").close()  # libsndfile would make it with other permissions than the umask says
                _encode(path, temporary, source, rate, form, written)
                with temporary.open("rb+") as stream:
                    os.fsync(stream.fileno())
        for path, target, temporary in zip(paths, targets, hidden, strict=True):
            with one_line_errors(path, "cannot be written"):
                temporary.replace(target)
    finally:
        for temporary in hidden:
            with suppress(OSError):  # missing, as a rule; nothing here may hide the error on its way
                temporary.unlink()
    return written


def _form(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in WRITTEN:
        got = f"got {path.suffix or 'no suffix'}{nearest(suffix, WRITTEN)}"
        raise ValueError(one_line(path, f"path must end in one of {' '.join(WRITTEN)}, {got}"))
    return WRITTEN[suffix]


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the path before what is said about a format."""
    try:
        yield
    except ValueError as error:
        raise ValueError(one_line(path, str(error))) from None


def _fit(sources: list[Tensor], form: str, subtype: str, overflow: Overflow | None) -> Written:
    if subtype in UNBOUNDED:
        return Written(subtype)
    peak, above = 0.0, 0
    for source in sources:
        for block in source.split(BLOCK, dim=1):
            magnitude = block.abs()
            peak = max(peak, float(magnitude.max()))
            above += int((magnitude > 1).sum())
    if not above:
        return Written(subtype)
    overflow = overflow or ("float" if holds_floats(form) else "rescale")
    if overflow == "clip":
        return Written(subtype, clipped=above)
    return Written("FLOAT") if overflow == "float" else Written(subtype, gain=1 / peak)


def _container(path: Path, form: str, size: int) -> str:
    if form == "AIFF" and size > _RIFF_LIMIT:
        raise ValueError(one_line(path, "samples must take less than 4 GB in AIFF; write .flac or .wav"))
    # RF64 is WAV with 64 bit sizes, which most readers take under the name .wav.
    return "RF64" if form == "WAV" and size > _RIFF_LIMIT else form


def _encode(path: Path, temporary: Path, source: Tensor, rate: int, form: str, written: Written) -> None:
    """Write one complete file, or raise."""
    channels, length = source.shape
    try:
        with soundfile.SoundFile(str(temporary), "w", rate, channels, written.subtype, format=form) as file:
            for part in source.split(BLOCK, dim=1):
                block = part.T.to("cpu", torch.float64) * written.gain
                if written.subtype not in UNBOUNDED:
                    block = block.clamp(-1, 1)  # for "clip", and the rounding errors of a gain
                if written.subtype.startswith("PCM_"):
                    # libsndfile would cut off the fraction in WAV and AIFF, which doubles the error of rounding.
                    bits = 8 * SAMPLE_BYTES[written.subtype]
                    half = 2.0 ** (bits - 1)
                    block = ((block * half).round().clamp(-half, half - 1) * 2.0 ** (32 - bits)).to(torch.int32)
                file.write(block.contiguous().numpy())
        # Encoders swallow errors when they are closed: what was written last is where a full disk shows.
        with open_audio(temporary) as file:
            file.seek(length - 1)
            if (file.frames, file.channels, file.samplerate, len(file.read(1))) != (length, channels, rate, 1):
                raise ValueError(temporary)
    except (soundfile.LibsndfileError, AssertionError, ValueError) as error:  # the assertion is soundfile's own
        folder = temporary.parent
        free = f"{shutil.disk_usage(folder).free / 1e6:.0f} MB free in {folder}"
        problem = f"could not be written in full (disk full? {free}); nothing was kept"
        raise OSError(one_line(path, problem)) from error
