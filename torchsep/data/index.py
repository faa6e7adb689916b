"""Persistent cache of the headers of audio files."""

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
_PART = 64  # files per task
_THREADS = 16  # reading headers is limited by the disk or network, not by the CPU


class Header(NamedTuple):
    """Samples per channel, sample rate in Hz and number of channels of an audio file."""

    frames: int
    rate: int
    channels: int


class _CachedHeader(NamedTuple):
    """A header with the size and modification time of the file when it was read."""

    size: int
    mtime_ns: int
    header: Header


def headers(files: Collection[Path], root: Path) -> dict[Path, Header | OSError | ValueError]:
    """Header of each audio file, or the error that prevents reading it.

    Opening thousands of files takes minutes on a network disk, so headers are cached beside the data, in
    ``.torchsep_index.json``, or in the user's cache folder (``$XDG_CACHE_HOME``, ``~/.cache``) if the data folder is
    read-only. Files whose size or modification time has changed are read again.

    Args:
        files: paths of audio files.
        root: root folder of the data set.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "silence.wav")
        ...     _ = audio.write(path, torch.zeros(2, 4000), 8000)
        ...     list(headers([path], Path(folder)).values())
        [Header(frames=4000, rate=8000, channels=2)]
    """
    locations = _locations(root)
    known: dict[str, _CachedHeader] = {}
    for location in locations:
        known |= _load(location)
    keys = dict(zip(files, _keys(files, root), strict=True))
    paths = list(keys)
    parts = [paths[start : start + _PART] for start in range(0, len(paths), _PART)]
    with ThreadPoolExecutor(_THREADS) as pool:
        results = pool.map(lambda part: [_read_header(path, known.get(keys[path])) for path in part], parts)
        found = dict(zip(paths, chain.from_iterable(results), strict=True))
    # Entries of other splits are kept; entries of files that can no longer be read are dropped.
    current = dict(known)
    for path, file in found.items():
        if isinstance(file, _CachedHeader):
            current[keys[path]] = file
        else:
            current.pop(keys[path], None)
    if current != known:
        _save(locations, current)
    return {path: file.header if isinstance(file, _CachedHeader) else file for path, file in found.items()}


def _read_header(path: Path, known: _CachedHeader | None) -> _CachedHeader | OSError | ValueError:
    try:
        status = path.stat()
        if known and (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns):
            return known
        info = audio.probe(path)
        audio.check_rate(path, info)
    except FileNotFoundError:
        return FileNotFoundError(f"{path}: does not exist; complete the data set, or skip it with on_error='skip'")
    except (OSError, ValueError) as error:
        return error
    return _CachedHeader(status.st_size, status.st_mtime_ns, Header(info.num_samples, info.sample_rate, info.channels))


def _keys(files: Iterable[Path], root: Path) -> Iterator[str]:
    """Paths relative to the root, so that the index moves with the data; absolute for files outside the root."""
    start = f"{root.as_posix()}/"
    for path in files:
        name = path.as_posix()
        yield name.removeprefix(start) if name.startswith(start) else path.absolute().as_posix()


def _locations(root: Path) -> list[Path]:
    """Possible paths of the index, in order of preference."""
    locations = [root / INDEX_NAME]
    home = os.environ.get("XDG_CACHE_HOME")
    with suppress(RuntimeError):  # a user without a home
        cache = Path(home) if home else Path.home() / ".cache"
        locations.append(cache / "torchsep" / f"index-{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()}.json")
    return locations


def _load(location: Path) -> dict[str, _CachedHeader]:
    """Entries of an index; empty if it is missing, damaged or of another version."""
    try:
        index = json.loads(location.read_text(encoding="utf-8"))
        rows = index["files"].items() if index["version"] == _VERSION else ()
        return {
            key: _CachedHeader(int(size), int(mtime), Header(*map(int, rest))) for key, (size, mtime, *rest) in rows
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _save(locations: Collection[Path], known: dict[str, _CachedHeader]) -> None:
    """Write the index atomically to the first writable location, if any."""
    rows = {key: (file.size, file.mtime_ns, *file.header) for key, file in sorted(known.items())}
    text = json.dumps({"version": _VERSION, "files": rows}, separators=(",", ":"))
    for location in locations:
        with suppress(OSError):
            location.parent.mkdir(parents=True, exist_ok=True)
            draft = location.with_name(f"{location.name}.{secrets.token_hex(4)}")
            try:
                draft.write_text(text, encoding="utf-8")
                draft.replace(location)
            finally:
                draft.unlink(missing_ok=True)
            return
