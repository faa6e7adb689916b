"""What the scripts that prepare data share: all or nothing is written, and what is wrong is said in one line."""

import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

WRONG, INTERRUPTED = 2, 130  # exit codes


def run(prepare: Callable[[], None], output: Path) -> int:
    """The exit code of a script after its work, which is told to stop by Ctrl-C or ``kill``."""
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        prepare()
    except (ValueError, OSError) as error:
        say(f"error: {' '.join(str(error).split())}", error=True)
        return WRONG
    except KeyboardInterrupt:
        say(f"interrupted; {output} was not made", error=True)
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


@contextmanager
def complete_or_gone(output: Path) -> Iterator[Path]:
    """A folder to fill, which gets its name once it is complete and is gone if it never is.

    Raises:
        ValueError: if there is something of that name.
    """
    if output.exists():
        raise ValueError(f"{output}: must not exist; remove it, or choose another --output")
    new = [parent for parent in output.parents if not parent.exists()]
    output.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        yield draft
        draft.chmod(0o755)  # that of a temporary folder is 0o700
        draft.rename(output)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        for parent in new:
            with suppress(OSError):  # it holds the output, as it should
                parent.rmdir()


def say(text: str, *, error: bool = False) -> None:
    print(text, file=sys.stderr if error else sys.stdout, flush=True)


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
