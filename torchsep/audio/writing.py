"""Tensors into audio files, all of them or none."""

import os
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from torchsep.audio.encoding import Encoding, Written, check_finite, level, write_encoded
from torchsep.audio.formats import BLOCK, UNBOUNDED, WRITTEN, Overflow, StrPath, one_line

__all__ = ["as_files", "check_paths", "check_samples", "write", "write_sources"]


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
    check_samples(path, "waveform", waveform, ("channels", "samples"))
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
    files = as_files(paths)
    check_samples(files[0] if files else Path(), "sources", sources, ("sources", "channels", "samples"))
    check_paths(files, len(sources))
    return _write(files, "sources", list(sources.detach()), sample_rate, subtype, overflow)


def as_files(paths: Sequence[StrPath]) -> list[Path]:
    """One path for each source, also where one is given for itself."""
    return [Path(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]


def check_paths(files: list[Path], num_sources: int) -> None:
    """Raise unless there is a different file for each source, all of one format."""
    first = files[0] if files else Path()
    if len(files) != num_sources or len({os.path.realpath(file) for file in files}) != len(files):
        got = f"got {len(files)} for {num_sources} sources: {', '.join(map(str, files))}"
        raise ValueError(one_line(first, f"paths must be one different file for each source, {got}"))
    if len({WRITTEN.get(file.suffix.lower()) for file in files}) > 1:
        raise ValueError(
            one_line(first, f"paths must be of one format, got {', '.join(file.suffix for file in files)}")
        )


def check_samples(path: StrPath, name: str, samples: Tensor, axes: tuple[str, ...]) -> None:
    """Raise unless samples are a floating point tensor with these axes."""
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
        check_finite(path, name, source)
    channels, length = sources[0].shape
    encoding = Encoding.of(paths[0], channels, rate, subtype, overflow)
    peak, above = (0.0, 0) if encoding.subtype in UNBOUNDED else level(sources)
    written = encoding.fitted(peak, above)
    write_encoded(paths, [source.split(BLOCK, dim=1) for source in sources], length, encoding, written)
    return written
