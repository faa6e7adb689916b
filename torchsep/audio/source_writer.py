"""Block-wise writing of sources to audio files."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from torchsep.audio.encoding import Encoding, Written, check_finite, level, write_encoded
from torchsep.audio.formats import BLOCK, Compression, Overflow, StrPath, one_line, one_line_errors
from torchsep.audio.writing import as_files, check_paths, check_samples

__all__ = ["SourceWriter"]


class SourceWriter:
    """Context manager that writes the sources of a recording of any length in blocks, as ``write_sources`` does.

    The treatment of samples above full scale depends on all samples, so they are buffered in an unnamed temporary file
    in the output folder, with 4 bytes per sample, 8 in double precision. They are encoded when the context exits, and
    the files are written atomically as by :func:`write_sources`. After an error or interruption, no files are left.

    Args:
        paths: one file for each source, as for :func:`write_sources`.
        sample_rate: sample rate in Hz.
        subtype: as for :func:`write_sources`.
        overflow: as for :func:`write_sources`.
        compression: as for :func:`write_sources`.

    Raises:
        OSError: as for :func:`write_sources`; from any method, or when the context exits.
        ValueError: as for :func:`write_sources`; or if blocks differ in sources or channels, or there are none.

    Example:
        >>> import tempfile
        >>> from torchsep import audio
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with SourceWriter([f"{folder}/a.flac", f"{folder}/b.flac"], 8000) as writer:
        ...         for level in (0.5, 2.0):
        ...             writer.write(torch.full((2, 1, 400), level))
        ...     audio.probe(f"{folder}/a.flac").num_samples, writer.written
        (800, Written(subtype='PCM_24', gain=0.5, clipped=0))
    """

    written: Written
    """Result of writing, available after the context has exited."""

    def __init__(
        self,
        paths: Sequence[StrPath],
        sample_rate: int,
        subtype: str | None = None,
        overflow: Overflow | None = None,
        compression: Compression | None = None,
    ) -> None:
        self._files = as_files(paths)
        check_paths(self._files, max(1, len(self._files)))
        self._given = (sample_rate, subtype, overflow, compression)
        Encoding.of(self._files[0], 1, *self._given)  # raises early for options invalid for any number of channels
        self._buffer: _DiskBuffer | None = None
        self._peak, self._above = 0.0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.written = self._encode()
        finally:
            if self._buffer is not None:
                self._buffer.close()

    def write(self, sources: Tensor) -> None:
        """Append a block.

        Args:
            sources: floating point samples ``(S, C, T)`` on any device.
        """
        first, sources = self._files[0], sources.detach()
        check_samples(first, "sources", sources, ("sources", "channels", "samples"))
        check_paths(self._files, len(sources))
        if self._buffer is None:
            Encoding.of(first, sources.shape[1], *self._given)
            with one_line_errors(first, "cannot be written"):
                self._buffer = _DiskBuffer(first.absolute().parent, sources)
        if sources.shape[1] != self._buffer.channels:
            rule = f"have {self._buffer.channels} channels as before"
            raise ValueError(one_line(first, f"sources must {rule}, got {sources.shape[1]}"))
        for path, source in zip(self._files, sources, strict=True):
            check_finite(path, "sources", source, self._buffer.length)
        peak, above = level(sources)
        self._peak, self._above = max(self._peak, peak), self._above + above
        with one_line_errors(first, "cannot be written"):
            self._buffer.append(sources)

    def _encode(self) -> Written:
        buffer = self._buffer
        if buffer is None:
            raise ValueError(one_line(self._files[0], "sources must be given in blocks, got none"))
        encoding = Encoding.of(self._files[0], buffer.channels, *self._given)
        written = encoding.fitted(self._peak, self._above)
        sources = [buffer.blocks(number) for number in range(len(self._files))]
        write_encoded(self._files, sources, buffer.length, encoding, written)
        return written


class _DiskBuffer:
    """Blocks of sources in an unnamed temporary file."""

    def __init__(self, folder: Path, like: Tensor) -> None:
        while not folder.exists():  # folders are created only when the files are written
            folder = folder.parent
        self.channels = like.shape[1]
        self.length = 0
        self._dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        self._parts: list[tuple[int, int]] = []  # offset in bytes and number of samples of each block
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".torchsep-")  # noqa: SIM115 - closed by its owner

    def append(self, sources: Tensor) -> None:
        """Append a block ``(S, C, T)``."""
        self._parts.append((self._file.tell(), sources.shape[-1]))
        self._file.write(sources.to("cpu", self._dtype).contiguous().numpy().data)
        self.length += sources.shape[-1]

    def blocks(self, number: int) -> Iterator[Tensor]:
        """Blocks ``(C, T)`` of a source."""
        for start, samples in self._parts:
            size = self.channels * samples * self._dtype.itemsize
            self._file.seek(start + number * size)
            block = torch.frombuffer(bytearray(self._file.read(size)), dtype=self._dtype)
            yield from block.view(self.channels, samples).split(BLOCK, dim=1)

    def close(self) -> None:
        """Close and delete the temporary file."""
        with suppress(OSError):  # a full disk was already reported
            self._file.close()
