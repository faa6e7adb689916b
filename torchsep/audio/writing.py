"""Writing audio files; either all files are written or none."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from torchsep.audio.encoding import Encoding, Written, check_finite, level, write_encoded
from torchsep.audio.formats import BLOCK, UNBOUNDED, WRITTEN, Compression, Overflow, StrPath, one_line

__all__ = ["as_files", "check_paths", "check_samples", "write", "write_sources"]


def write(
    path: StrPath,
    waveform: Tensor,
    sample_rate: int,
    subtype: str | None = None,
    overflow: Overflow | None = None,
    compression: Compression | None = None,
) -> Written:
    """Write a waveform to an audio file, as :func:`write_sources` for a single source.

    Args:
        path: path of the file, .wav .flac .ogg .mp3 .aiff or .aif; missing folders are created.
        waveform: floating point samples ``(C, T)`` on any device.
        sample_rate: sample rate in Hz.
        subtype: as for :func:`write_sources`.
        overflow: as for :func:`write_sources`.
        compression: as for :func:`write_sources`.

    Raises:
        OSError: as for :func:`write_sources`.
        ValueError: as for :func:`write_sources`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(f"{folder}/loud.flac", torch.full((1, 100), 2.0), 8000)
        Written(subtype='PCM_24', gain=0.5, clipped=0)
    """
    check_samples(path, "waveform", waveform, ("channels", "samples"))
    return _write([Path(path)], "waveform", [waveform.detach()], (sample_rate, subtype, overflow, compression))


def write_sources(
    paths: Sequence[StrPath],
    sources: Tensor,
    sample_rate: int,
    subtype: str | None = None,
    overflow: Overflow | None = None,
    compression: Compression | None = None,
) -> Written:
    """Write each source to an audio file, and return the subtype, gain and number of clipped samples.

    The files are written to temporary files and verified, and renamed only when all are complete. Integer formats are
    rounded without dither.

    Args:
        paths: one file for each source, all of the same format, as for :func:`write`; missing folders are created.
        sources: floating point samples ``(S, C, T)`` on any device.
        sample_rate: sample rate in Hz.
        subtype: encoding in soundfile's naming (PCM_16, FLOAT, VORBIS, ...); if None, PCM_24 or the default of the
            format.
        overflow: treatment of samples above 1.0 that the subtype cannot represent: ``float`` writes all sources in
            floating point, ``rescale`` scales all sources by one factor so that they sum to the scaled mixture, and
            ``clip`` clips. If None, ``float`` if the format supports it, otherwise ``rescale``.
        compression: bit rate or quality of a lossy format; that of the encoder if None.

    Raises:
        OSError: if the folder is not writable or the disk is full; no files are left.
        ValueError: if the format does not support the options, or samples are not floating point, empty or not finite.

    Example:
        >>> import tempfile
        >>> sources = torch.stack([torch.full((1, 100), 0.5), torch.full((1, 100), 2.0)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_sources([f"{folder}/a.wav", f"{folder}/b.wav"], sources, 8000, "PCM_16", overflow="rescale")
        Written(subtype='PCM_16', gain=0.5, clipped=0)
    """
    files = as_files(paths)
    check_samples(files[0] if files else Path(), "sources", sources, ("sources", "channels", "samples"))
    check_paths(files, len(sources))
    return _write(files, "sources", list(sources.detach()), (sample_rate, subtype, overflow, compression))


def as_files(paths: Sequence[StrPath]) -> list[Path]:
    """Paths of the files; a single path is converted to a list."""
    return [Path(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]


def check_paths(files: list[Path], num_sources: int) -> None:
    """Raise unless there is a distinct file for each source, all of the same format."""
    first = files[0] if files else Path()
    if len(files) != num_sources or len({os.path.realpath(file) for file in files}) != len(files):
        got = f"got {len(files)} for {num_sources} sources: {', '.join(map(str, files))}"
        raise ValueError(one_line(first, f"paths must be one different file for each source, {got}"))
    if len({WRITTEN.get(file.suffix.lower()) for file in files}) > 1:
        raise ValueError(
            one_line(first, f"paths must be of one format, got {', '.join(file.suffix for file in files)}")
        )


def check_samples(path: StrPath, name: str, samples: Tensor, axes: tuple[str, ...]) -> None:
    """Raise unless samples are a non-empty floating point tensor with the given axes."""
    if not isinstance(samples, Tensor) or not samples.is_floating_point():
        got = getattr(samples, "dtype", type(samples).__name__)
        raise ValueError(one_line(path, f"{name} must be a floating point tensor, got {got}"))
    if samples.ndim != len(axes) or not samples.numel():
        rule = f"have the axes ({', '.join(axes)}), none of them empty"
        raise ValueError(one_line(path, f"{name} must {rule}, got shape {tuple(samples.shape)}"))


def _write(paths: list[Path], name: str, sources: list[Tensor], options: tuple[Any, ...]) -> Written:
    for path, source in zip(paths, sources, strict=True):
        check_finite(path, name, source)
    channels, length = sources[0].shape
    encoding = Encoding.of(paths[0], channels, *options)
    peak, above = (0.0, 0) if encoding.subtype in UNBOUNDED else level(sources)
    written = encoding.fitted(peak, above)
    write_encoded(paths, [source.split(BLOCK, dim=1) for source in sources], length, encoding, written)
    return written
