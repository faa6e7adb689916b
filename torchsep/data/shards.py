"""Writing data sets to shards: a few large files, for storage that is slow with many small files."""

import hashlib
import importlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from torchsep import audio
from torchsep.checks import check_choice, check_integer

__all__ = ["INDEX", "encode", "shard_path", "webdataset", "write_shards"]

INDEX = "shards.json"
_DRAFTS = ".writing-"


def shard_path(folder: Path, number: int) -> Path:
    """Path of a shard.

    Example:
        >>> shard_path(Path("shards"), 12).as_posix()
        'shards/shard-000012.tar'
    """
    return folder / f"shard-{number:06d}.tar"


def webdataset() -> Any:
    """Import webdataset.

    Raises:
        ImportError: if webdataset is not installed.
    """
    try:
        return importlib.import_module("webdataset")
    except ModuleNotFoundError:
        raise ImportError("shards need webdataset: pip install 'torchsep[shards]'") from None


def write_shards(
    dataset: Dataset[dict[str, Any]],
    folder: str | os.PathLike[str],
    items_per_shard: int = 100,
    format: Literal["flac", "wav"] = "flac",  # noqa: A002 - the usual name for audio formats
    workers: int = 0,
    receive: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Path]:
    """Write a data set to shards in WebDataset format and return their paths.

    A shard is a tar file. Each item consists of an audio file of the mixture, one of each source, and a JSON file with
    its id, sample rate and source names. Shards are written atomically; after an error or interruption, the same call
    resumes with the missing shards. Only one call may write to a folder at a time.

    Args:
        dataset: data set whose items have ``mixture``, ``sources``, ``id`` and ``sample_rate``.
        folder: output folder, created if missing; existing shards of the same data set are kept.
        items_per_shard: number of items per shard; shards of 100 MB to 1 GB are efficient.
        format: ``flac`` for 24-bit samples, lossless for source files of up to 24 bits and about half as large; ``wav``
            for 32-bit float samples. Items with samples above full scale or more than eight channels are always
            written as ``wav``.
        workers: number of worker processes; 0 writes in the main process.
        receive: progress callback, called with the numbers of finished and of all shards, initially and after each
            shard.

    Raises:
        ImportError: if webdataset is not installed.
        OSError: if the folder cannot be written.
        ValueError: if an argument is out of range, samples are not finite, or the folder contains other shards.

    Example:
        >>> from torchsep.data.scenes import Scenes
        >>> scenes = Scenes(num_items=5, duration=0.5, sample_rate=8000)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path.name for path in write_shards(scenes, folder, items_per_shard=2)]
        ['shard-000000.tar', 'shard-000001.tar', 'shard-000002.tar']
    """
    check_integer(items_per_shard, "items_per_shard", at_least=1)
    check_integer(workers, "workers", at_least=0)
    check_choice(format, ("flac", "wav"), "format")
    webdataset()
    folder, count = Path(folder), len(dataset)  # type: ignore[arg-type]
    check_integer(count, "len(dataset)", at_least=1)
    index = _index(dataset, count, items_per_shard, format)
    _prepare(folder, index)
    paths = [shard_path(folder, number) for number in range(-(-count // items_per_shard))]
    missing = [number for number, path in enumerate(paths) if not path.exists()]
    receive(len(paths) - len(missing), len(paths))
    drafts = Path(tempfile.mkdtemp(prefix=_DRAFTS, dir=folder))
    try:
        writer = _ShardWriter(dataset, folder, drafts, count, items_per_shard, format)
        for done, _ in enumerate(writer.all(missing, workers), len(paths) - len(missing) + 1):
            receive(done, len(paths))
        _save(folder, {**index, "complete": True})
    finally:
        shutil.rmtree(drafts, ignore_errors=True)
    return paths


def encode(item: dict[str, Any], names: Sequence[str], format: str, scratch: Path) -> dict[str, bytes]:  # noqa: A002
    """Encode an item to files, by the part of the name after the key.

    Args:
        item: item of a data set.
        names: names of its sources.
        format: format as for :func:`write_shards`.
        scratch: folder for temporary files.

    Raises:
        ValueError: if samples are not finite.
    """
    waveforms: dict[str, Tensor] = {"mixture": item["mixture"]}
    waveforms |= {f"source_{number}": source for number, source in enumerate(item["sources"])}
    peak = max(float(waveform.abs().max()) for waveform in waveforms.values())
    if not all(bool(waveform.isfinite().all()) for waveform in waveforms.values()):
        raise ValueError(f"{item['id']}: samples must be finite")
    suffix = "flac" if format == "flac" and peak <= 1 and len(item["mixture"]) <= 8 else "wav"
    # Ids and names are not used as file names, as they may contain any character.
    about = {"id": item["id"], "names": list(names), "sample_rate": item["sample_rate"]}
    files = {"json": json.dumps(about).encode()}
    for name, waveform in waveforms.items():
        path = scratch / f"{name}.{suffix}"
        audio.write(path, waveform, item["sample_rate"], "FLOAT" if suffix == "wav" else "PCM_24")
        files[path.name] = path.read_bytes()
        path.unlink()
    return files


@dataclass(frozen=True)
class _ShardWriter:
    """Writes shards; copied to every worker process."""

    dataset: Dataset[dict[str, Any]]
    folder: Path
    drafts: Path
    num_items: int
    items_per_shard: int
    format: str

    def all(self, numbers: Sequence[int], workers: int) -> Iterator[int]:
        """Write shards and yield their numbers as they are finished."""
        if not workers:
            for number in numbers:
                self.write(number, lambda: False)
                yield number
            return
        context = torch.multiprocessing.get_context()
        stop = context.Event()
        with ProcessPoolExecutor(workers, context, _start, (self, stop)) as pool:
            futures = {pool.submit(_write, number): number for number in numbers}
            try:
                for future in as_completed(futures):
                    future.result()
                    yield futures[future]
            except BaseException:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def write(self, number: int, stopped: Callable[[], bool]) -> None:
        """Write a shard, unless stopped."""
        draft = self.drafts / f"{number}.tar"
        first = number * self.items_per_shard
        with tempfile.TemporaryDirectory(prefix="torchsep-") as scratch, draft.open("wb") as stream:
            with webdataset().TarWriter(stream, encoder=False, mtime=0) as writer:
                for index in range(first, min(first + self.items_per_shard, self.num_items)):
                    if stopped():
                        return
                    names = self.dataset.names_of(index)  # type: ignore[attr-defined]
                    files = encode(self.dataset[index], names, self.format, Path(scratch))
                    writer.write({"__key__": f"{index:08d}", **files})
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(shard_path(self.folder, number))


_worker: tuple[_ShardWriter, Any] | None = None  # state of a worker process


def _start(writer: _ShardWriter, stop: Any) -> None:
    global _worker  # noqa: PLW0603
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process also receives it, and sets the stop event
    torch.set_num_threads(1)
    _worker = writer, stop


def _write(number: int) -> None:
    if _worker is not None:
        writer, stop = _worker
        writer.write(number, stop.is_set)


def _index(dataset: Any, count: int, items_per_shard: int, format: str) -> dict[str, Any]:  # noqa: A002
    """Index of the shards; the hash of the first item identifies the data set."""
    item = dataset[0]
    first = hashlib.sha256(item["sources"].contiguous().numpy().tobytes()).hexdigest()
    names = dataset.names
    return {
        "version": 1,
        "num_items": count,
        "items_per_shard": items_per_shard,
        "format": format,
        "names": list(names),
        "names_of": [] if names else [list(dataset.names_of(index)) for index in range(count)],
        "first": [item["id"], first],
        "complete": False,
    }


def _prepare(folder: Path, index: dict[str, Any]) -> None:
    """Create the folder and its index, or check that existing shards are of the same data set."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        known = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if any(folder.glob("shard-*.tar")):
            raise ValueError(f"{folder}: holds shards but no {INDEX}; choose another folder") from None
        _save(folder, index)
    else:
        for key, value in index.items():
            if key != "complete" and known.get(key) != value:
                shown = "" if key in {"first", "names_of"} else f", {known.get(key)!r} and not {value!r}"
                raise ValueError(f"{folder}: holds shards of other items ({key}{shown}); choose another folder")
    for left in folder.glob(f"{_DRAFTS}*"):  # left by a killed process
        shutil.rmtree(left, ignore_errors=True)


def _save(folder: Path, index: dict[str, Any]) -> None:
    draft = folder / f"{_DRAFTS}{INDEX}"
    draft.write_text(json.dumps(index), encoding="utf-8")
    draft.replace(folder / INDEX)
