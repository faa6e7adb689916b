"""Sources into audio files block by block."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from torchsep.audio.encoding import Encoding, Written, check_finite, level, write_encoded
from torchsep.audio.formats import BLOCK, Overflow, StrPath, one_line, one_line_errors
from torchsep.audio.writing import as_files, check_paths, check_samples

__all__ = ["SourceWriter"]


class SourceWriter:
    """Write the sources of a recording of any length, block by block, with the files of ``write_sources`` in the end.

    For a ``with`` statement. What is done above full scale depends on all samples, so that they wait as they are, in a
    file without a name on the disk of their folder, where they need 4 bytes each, 8 in double precision. When the
    statement ends they are encoded, and the files appear as those of :func:`write_sources` do. If it ends by an error
    or an interrupt, nothing changes, and nothing is left.

    Args:
        paths: one file for each source, as for :func:`write_sources`.
        sample_rate: in Hz.
        subtype: as for :func:`write_sources`.
        overflow: as for :func:`write_sources`.

    Raises:
        OSError: as for :func:`write_sources`; from any method, or the end of the statement.
        ValueError: as for :func:`write_sources`; or if blocks differ in sources or channels, or there were none.

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
    """What was done to the samples; there once the statement has ended."""

    def __init__(
        self, paths: Sequence[StrPath], sample_rate: int, subtype: str | None = None, overflow: Overflow | None = None
    ) -> None:
        self._files = as_files(paths)
        check_paths(self._files, max(1, len(self._files)))
        self._given = (sample_rate, subtype, overflow)
        Encoding.of(self._files[0], 1, *self._given)  # to be told now what is wrong for any number of channels
        self._waiting: _Waiting | None = None
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
            if self._waiting is not None:
                self._waiting.close()

    def write(self, sources: Tensor) -> None:
        """Add a block.

        Args:
            sources: floating point samples (sources, channels, samples) on any device.
        """
        first, sources = self._files[0], sources.detach()
        check_samples(first, "sources", sources, ("sources", "channels", "samples"))
        check_paths(self._files, len(sources))
        if self._waiting is None:
            Encoding.of(first, sources.shape[1], *self._given)
            with one_line_errors(first, "cannot be written"):
                self._waiting = _Waiting(first.absolute().parent, sources)
        if sources.shape[1] != self._waiting.channels:
            rule = f"have {self._waiting.channels} channels as before"
            raise ValueError(one_line(first, f"sources must {rule}, got {sources.shape[1]}"))
        for path, source in zip(self._files, sources, strict=True):
            check_finite(path, "sources", source, self._waiting.length)
        peak, above = level(sources)
        self._peak, self._above = max(self._peak, peak), self._above + above
        with one_line_errors(first, "cannot be written"):
            self._waiting.append(sources)

    def _encode(self) -> Written:
        waiting = self._waiting
        if waiting is None:
            raise ValueError(one_line(self._files[0], "sources must be given in blocks, got none"))
        encoding = Encoding.of(self._files[0], waiting.channels, *self._given)
        written = encoding.fitted(self._peak, self._above)
        sources = [waiting.blocks(number) for number in range(len(self._files))]
        write_encoded(self._files, sources, waiting.length, encoding, written)
        return written


class _Waiting:
    """Blocks of sources on disk, in a file that has no name, or loses it at once."""

    def __init__(self, folder: Path, like: Tensor) -> None:
        while not folder.exists():  # no folder is made for what may come to nothing
            folder = folder.parent
        self.channels = like.shape[1]
        self.length = 0
        self._dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        self._parts: list[tuple[int, int]] = []  # where each block begins, in bytes, and its number of samples
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".torchsep-")  # noqa: SIM115 - closed by its owner

    def append(self, sources: Tensor) -> None:
        """Add a block (sources, channels, samples)."""
        self._parts.append((self._file.tell(), sources.shape[-1]))
        self._file.write(sources.to("cpu", self._dtype).contiguous().numpy().data)
        self.length += sources.shape[-1]

    def blocks(self, number: int) -> Iterator[Tensor]:
        """One of the sources in blocks (channels, samples)."""
        for start, samples in self._parts:
            size = self.channels * samples * self._dtype.itemsize
            self._file.seek(start + number * size)
            block = torch.frombuffer(bytearray(self._file.read(size)), dtype=self._dtype)
            yield from block.view(self.channels, samples).split(BLOCK, dim=1)

    def close(self) -> None:
        """Give the room back."""
        with suppress(OSError):  # of a full disk, which was said before
            self._file.close()
