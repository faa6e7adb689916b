"""Encoding of samples to files, whole or in blocks; either all files are written or none."""

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor

from torchsep.audio.formats import (
    BLOCK,
    SAMPLE_BYTES,
    UNBOUNDED,
    WRITTEN,
    Compression,
    Overflow,
    check_limits,
    check_overflow,
    choose_subtype,
    holds_floats,
    native_path,
    one_line,
    one_line_errors,
)
from torchsep.audio.reading import count_nonfinite, open_audio
from torchsep.checks import nearest

__all__ = ["Encoding", "Written", "check_finite", "level", "write_encoded"]

_RIFF_LIMIT = 2**32 - 2**16  # maximum bytes of a 32-bit size field, minus the headers


@dataclass(frozen=True)
class Written:
    """Result of writing: subtype of the file, gain applied to all sources, number of clipped samples."""

    subtype: str
    gain: float = 1.0
    clipped: int = 0


def check_finite(path: Path, name: str, source: Tensor, before: int = 0) -> None:
    """Raise if samples are NaN or infinite; ``before`` is the index of the first sample of the block."""
    bad, first = count_nonfinite(source)
    if bad:
        got = f"got {bad} that are not, the first at index {before + first}"
        raise ValueError(one_line(path, f"{name} must hold finite samples, {got}"))


def level(sources: Iterable[Tensor]) -> tuple[float, int]:
    """Peak magnitude, and number of samples above full scale."""
    peak, above = 0.0, 0
    for source in sources:
        for block in source.split(BLOCK, dim=1):
            magnitude = block.abs()
            peak = max(peak, float(magnitude.max()))
            above += int((magnitude > 1).sum())
    return peak, above


@dataclass(frozen=True)
class Encoding:
    """Storage format of samples, before their level is known."""

    form: str
    subtype: str
    overflow: Overflow | None
    channels: int
    rate: int
    compression: Compression

    @classmethod
    def of(
        cls,
        path: Path,
        channels: int,
        rate: int,
        subtype: str | None = None,
        overflow: Overflow | None = None,
        compression: Compression | None = None,
    ) -> "Encoding":
        """Encoding for a file path; raises ``ValueError`` if the format does not support it."""
        form = _form(path)
        rate = _plain(rate)
        with _naming(path):
            chosen = choose_subtype(form, subtype)
            check_limits(form, chosen, channels, rate)
            check_overflow(form, overflow)
            compression = compression or Compression()
            compression.check(form, chosen)
        return cls(form, chosen, overflow, channels, rate, compression)

    def fitted(self, peak: float, above: int) -> Written:
        """Subtype, gain and clipping for samples with a given peak."""
        if self.subtype in UNBOUNDED or not above:
            return Written(self.subtype)
        overflow = self.overflow or ("float" if holds_floats(self.form) else "rescale")
        if overflow == "clip":
            return Written(self.subtype, clipped=above)
        return Written("FLOAT") if overflow == "float" else Written(self.subtype, gain=1 / peak)


def write_encoded(
    paths: list[Path], sources: Sequence[Iterable[Tensor]], length: int, encoding: Encoding, written: Written
) -> None:
    """Write each source, given in blocks ``(C, T)``, to its file; either all files are written or none."""
    size = encoding.channels * length * SAMPLE_BYTES.get(written.subtype, 1)
    form = _container(paths[0], encoding.form, size)
    # Symbolic links are followed.
    targets = [Path(os.path.realpath(path)) for path in paths]
    hidden = [target.with_name(f".torchsep-{uuid.uuid4().hex}{target.suffix}") for target in targets]
    try:
        for path, target, temporary, blocks in zip(paths, targets, hidden, sources, strict=True):
            with one_line_errors(path, "cannot be written"):
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.is_dir():
                    raise IsADirectoryError(one_line(path, "is a folder; give the name of a file in it"))
                temporary.open("xb").close()  # libsndfile would ignore the umask
                with _complete(path, temporary, length, encoding):
                    _encode(temporary, blocks, form, encoding, written)
                with temporary.open("rb+") as stream:
                    os.fsync(stream.fileno())
        for path, target, temporary in zip(paths, targets, hidden, strict=True):
            with one_line_errors(path, "cannot be written"):
                temporary.replace(target)
    finally:
        for temporary in hidden:
            with suppress(OSError):  # usually missing; must not mask an exception being raised
                temporary.unlink()


def _plain(rate: object) -> Any:
    """A sample rate as Python's integer, also where it is one of NumPy."""
    return int(rate) if type(rate) is not bool and isinstance(rate, Integral) else rate


def _form(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in WRITTEN:
        got = f"got {path.suffix or 'no suffix'}{nearest(suffix, WRITTEN)}"
        raise ValueError(one_line(path, f"path must end in one of {' '.join(WRITTEN)}, {got}"))
    return WRITTEN[suffix]


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Prefix error messages with the path."""
    try:
        yield
    except ValueError as error:
        raise ValueError(one_line(path, str(error))) from None


def _container(path: Path, form: str, size: int) -> str:
    if form == "AIFF" and size > _RIFF_LIMIT:
        raise ValueError(one_line(path, "samples must take less than 4 GB in AIFF; write .flac or .wav"))
    # RF64 is WAV with 64-bit sizes, which most readers accept with the suffix .wav.
    return "RF64" if form == "WAV" and size > _RIFF_LIMIT else form


def _encode(temporary: Path, blocks: Iterable[Tensor], form: str, encoding: Encoding, written: Written) -> None:
    rate, channels, options = encoding.rate, encoding.channels, encoding.compression.options(form, encoding.rate)
    with soundfile.SoundFile(
        native_path(temporary), "w", rate, channels, written.subtype, format=form, **options
    ) as file:
        for part in blocks:
            block = part.T.to("cpu", torch.float64) * written.gain
            if written.subtype not in UNBOUNDED:
                block = block.clamp(-1, 1)  # for "clip", and for rounding errors of the gain
            if written.subtype.startswith("PCM_"):
                # libsndfile truncates in WAV and AIFF, which doubles the quantisation error.
                bits = 8 * SAMPLE_BYTES[written.subtype]
                half = 2.0 ** (bits - 1)
                block = ((block * half).round().clamp(-half, half - 1) * 2.0 ** (32 - bits)).to(torch.int32)
            file.write(block.contiguous().numpy())


@contextmanager
def _complete(path: Path, temporary: Path, length: int, encoding: Encoding) -> Iterator[None]:
    """Raise unless a file is written completely."""
    try:
        yield
        # Encoders ignore errors when closed, so the last sample is read back to detect a full disk.
        with open_audio(temporary) as file:
            file.seek(length - 1)
            found = (file.frames, file.channels, file.samplerate, len(file.read(1)))
            if found != (length, encoding.channels, encoding.rate, 1):
                raise ValueError(temporary)
    except (soundfile.LibsndfileError, AssertionError, ValueError) as error:  # soundfile raises AssertionError
        folder = temporary.parent
        free = f"{shutil.disk_usage(folder).free / 1e6:.0f} MB free in {folder}"
        problem = f"could not be written in full (disk full? {free}); nothing was kept"
        raise OSError(one_line(path, problem)) from error
