"""Audio from standard input, as a file."""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["with_standard_input"]


@contextmanager
def with_standard_input(arguments: Sequence[Path]) -> Iterator[list[Path]]:
    """Paths with ``-`` replaced by a temporary file ``stdin.wav`` of what standard input holds.

    The file may be of any supported format, which is found from its contents.

    Raises:
        ValueError: if ``-`` is given and standard input is a terminal or empty.
    """
    if Path("-") not in arguments:
        yield list(arguments)
        return
    if sys.stdin.isatty():
        raise ValueError("FILE - must be piped in, got a terminal; `cat song.wav | torchsep separate - ...`")
    with tempfile.TemporaryDirectory(prefix="torchsep-") as folder:
        file = Path(folder, "stdin.wav")
        with file.open("wb") as stream:
            shutil.copyfileobj(sys.stdin.buffer, stream)
        if not file.stat().st_size:
            raise ValueError("FILE - must be audio on standard input, got nothing")
        yield [file if path == Path("-") else path for path in arguments]
