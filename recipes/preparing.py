"""Helpers of the data preparation scripts: atomic output folders and single-line error messages."""

import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

FAILED, INTERRUPTED = 2, 130  # exit codes


def run(prepare: Callable[[], None], output: Path) -> int:
    """Run a script, which Ctrl-C or ``kill`` interrupts, and return its exit code."""
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        prepare()
    except (ValueError, OSError) as error:
        say(f"error: {' '.join(str(error).split())}", error=True)
        return FAILED
    except KeyboardInterrupt:
        say(f"interrupted; {output} was not made", error=True)
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


@contextmanager
def complete_or_gone(output: Path) -> Iterator[Path]:
    """Create an output folder atomically: it is renamed when complete and removed after an error.

    Raises:
        ValueError: if the output already exists.
    """
    if output.exists():
        raise ValueError(f"{output}: must not exist; remove it, or choose another --output")
    new = [parent for parent in output.parents if not parent.exists()]
    output.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        yield draft
        draft.chmod(0o755)  # temporary folders have 0o700
        draft.rename(output)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        for parent in new:
            with suppress(OSError):  # not empty if the output was created
                parent.rmdir()


def say(text: str, *, error: bool = False) -> None:
    print(text, file=sys.stderr if error else sys.stdout, flush=True)


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
