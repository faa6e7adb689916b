"""What the headers of many audio files say, remembered from one run to the next."""

import hashlib
import json
import os
import secrets
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from torchsep import audio

__all__ = ["INDEX_NAME", "Header", "headers"]

INDEX_NAME = ".torchsep_index.json"
_VERSION = 1
_PART = 64  # files that a thread takes at once
_THREADS = 16  # they wait for the disk or the network, not for a processor


class Header(NamedTuple):
    """Samples per channel, sample rate in Hz and channels of an audio file."""

    frames: int
    rate: int
    channels: int


class _Remembered(NamedTuple):
    """A header, and what the file looked like when it was read."""

    size: int
    mtime_ns: int
    header: Header


def headers(files: Collection[Path], root: Path) -> dict[Path, Header | OSError | ValueError]:
    """What the header of each file says, or why it cannot be read.

    Opening thousands of files takes minutes on a network disk. What they said is therefore kept beside the data, in
    ``.torchsep_index.json``, or in the user's cache folder (``$XDG_CACHE_HOME``, ``~/.cache``) where the data cannot be
    written to. A file whose size or time of change differs is read again.

    Args:
        files: the audio files.
        root: folder of the data set.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "silence.wav")
        ...     _ = audio.write(path, torch.zeros(2, 4000), 8000)
        ...     list(headers([path], Path(folder)).values())
        [Header(frames=4000, rate=8000, channels=2)]
    """
    places = _places(root)
    known: dict[str, _Remembered] = {}
    for place in places:
        known |= _load(place)
    keys = dict(zip(files, _keys(files, root), strict=True))
    paths = list(keys)
    parts = [paths[start : start + _PART] for start in range(0, len(paths), _PART)]
    with ThreadPoolExecutor(_THREADS) as pool:
        looked = pool.map(lambda part: [_look(path, known.get(keys[path])) for path in part], parts)
        found = dict(zip(paths, chain.from_iterable(looked), strict=True))
    # What is known of other splits stays; what is known of a file that can no longer be read goes.
    current = dict(known)
    for path, file in found.items():
        if isinstance(file, _Remembered):
            current[keys[path]] = file
        else:
            current.pop(keys[path], None)
    if current != known:
        _save(places, current)
    return {path: file.header if isinstance(file, _Remembered) else file for path, file in found.items()}


def _look(path: Path, known: _Remembered | None) -> _Remembered | OSError | ValueError:
    try:
        status = path.stat()
        if known and (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns):
            return known
        info = audio.probe(path)
    except FileNotFoundError:
        return FileNotFoundError(f"{path}: does not exist; complete the data set, or leave it out with on_error='skip'")
    except (OSError, ValueError) as error:
        return error
    return _Remembered(status.st_size, status.st_mtime_ns, Header(info.num_samples, info.sample_rate, info.channels))


def _keys(files: Iterable[Path], root: Path) -> Iterator[str]:
    """Paths relative to the root, so that the index moves with the data; files elsewhere keep their whole path."""
    start = f"{root.as_posix()}/"
    for path in files:
        name = path.as_posix()
        yield name.removeprefix(start) if name.startswith(start) else path.absolute().as_posix()


def _places(root: Path) -> list[Path]:
    """Where the index may be, the place preferred first."""
    places = [root / INDEX_NAME]
    home = os.environ.get("XDG_CACHE_HOME")
    with suppress(RuntimeError):  # a user without a home
        cache = Path(home) if home else Path.home() / ".cache"
        places.append(cache / "torchsep" / f"index-{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()}.json")
    return places


def _load(place: Path) -> dict[str, _Remembered]:
    """What an index says; nothing if it is missing, damaged or of another version."""
    try:
        index = json.loads(place.read_text(encoding="utf-8"))
        rows = index["files"].items() if index["version"] == _VERSION else ()
        return {key: _Remembered(int(size), int(mtime), Header(*map(int, rest))) for key, (size, mtime, *rest) in rows}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _save(places: Collection[Path], known: dict[str, _Remembered]) -> None:
    """Write the index to the first place that takes it; complete or not at all; none is no harm."""
    rows = {key: (file.size, file.mtime_ns, *file.header) for key, file in sorted(known.items())}
    text = json.dumps({"version": _VERSION, "files": rows}, separators=(",", ":"))
    for place in places:
        with suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            draft = place.with_name(f"{place.name}.{secrets.token_hex(4)}")
            try:
                draft.write_text(text, encoding="utf-8")
                draft.replace(place)
            finally:
                draft.unlink(missing_ok=True)
            return
