"""Items of a data set in a few large files, for disks and networks that are slow with many small ones."""

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
    """Where a shard is.

    Example:
        >>> shard_path(Path("shards"), 12).as_posix()
        'shards/shard-000012.tar'
    """
    return folder / f"shard-{number:06d}.tar"


def webdataset() -> Any:
    """The library that writes and reads shards.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        return importlib.import_module("webdataset")
    except ModuleNotFoundError:
        raise ImportError("shards need webdataset: pip install 'torchsep[shards]'") from None


def write_shards(
    dataset: Dataset[dict[str, Any]],
    folder: str | os.PathLike[str],
    items_per_shard: int = 100,
    format: Literal["flac", "wav"] = "flac",  # noqa: A002 - the word of all that writes audio
    workers: int = 0,
    receive: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Path]:
    """The shards of a data set, each a tar file of so many items that WebDataset can read.

    Each item is an audio file of the mixture, one of each source, and a JSON file of its id, sample rate and names. A
    shard appears when it is complete. If writing ends before all are, by an error or an interrupt, the same call goes
    on with those that are missing. One call writes to a folder at a time.

    Args:
        dataset: items with ``mixture``, ``sources``, ``id`` and ``sample_rate``.
        folder: where the shards go; it is made, or holds some of them already.
        items_per_shard: items of each but the last; files of 100 MB to 1 GB are read well.
        format: ``flac`` rounds to 24 bits, which leaves samples that come from files of up to 24 bits as they are, and
            is about half as large; ``wav`` keeps all 32 bits of samples that were computed. Items with samples above
            full scale, or more than eight channels, are kept as ``wav`` in either case.
        workers: processes that write shards at the same time; 0 writes in this one.
        receive: called with the number of shards that are done, and of all, at the beginning and as each is done.

    Raises:
        ImportError: if webdataset is not installed.
        OSError: if the folder cannot be written.
        ValueError: if an argument is out of range, samples are not finite, or the folder holds other shards.

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
        writing = _Writing(dataset, folder, drafts, count, items_per_shard, format)
        for done, _ in enumerate(writing.all(missing, workers), len(paths) - len(missing) + 1):
            receive(done, len(paths))
        _save(folder, {**index, "complete": True})
    finally:
        shutil.rmtree(drafts, ignore_errors=True)
    return paths


def encode(item: dict[str, Any], names: Sequence[str], format: str, scratch: Path) -> dict[str, bytes]:  # noqa: A002
    """The files of an item, by what follows their common name.

    Args:
        item: of a data set.
        names: of its sources.
        format: as for :func:`write_shards`.
        scratch: folder for files that are removed at once.

    Raises:
        ValueError: if samples are not finite.
    """
    waveforms: dict[str, Tensor] = {"mixture": item["mixture"]}
    waveforms |= {f"source_{number}": source for number, source in enumerate(item["sources"])}
    peak = max(float(waveform.abs().max()) for waveform in waveforms.values())
    if not all(bool(waveform.isfinite().all()) for waveform in waveforms.values()):
        raise ValueError(f"{item['id']}: samples must be finite")
    suffix = "flac" if format == "flac" and peak <= 1 and len(item["mixture"]) <= 8 else "wav"
    # Neither id nor names are names of files: they may hold any character.
    about = {"id": item["id"], "names": list(names), "sample_rate": item["sample_rate"]}
    files = {"json": json.dumps(about).encode()}
    for name, waveform in waveforms.items():
        path = scratch / f"{name}.{suffix}"
        audio.write(path, waveform, item["sample_rate"], "FLOAT" if suffix == "wav" else "PCM_24")
        files[path.name] = path.read_bytes()
        path.unlink()
    return files


@dataclass(frozen=True)
class _Writing:
    """What every process that writes shards knows."""

    dataset: Dataset[dict[str, Any]]
    folder: Path
    drafts: Path
    num_items: int
    items_per_shard: int
    format: str

    def all(self, numbers: Sequence[int], workers: int) -> Iterator[int]:
        """Each shard as it is written."""
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
        """Write a shard, or give it up."""
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


_worker: tuple[_Writing, Any] | None = None  # of a process that writes shards and does nothing else


def _start(writing: _Writing, stop: Any) -> None:
    global _worker  # noqa: PLW0603
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process gets it too, and says when to stop
    torch.set_num_threads(1)
    _worker = writing, stop


def _write(number: int) -> None:
    if _worker is not None:
        writing, stop = _worker
        writing.write(number, stop.is_set)


def _index(dataset: Any, count: int, items_per_shard: int, format: str) -> dict[str, Any]:  # noqa: A002
    """What the shards are of. The first item tells whether shards that are there are of the same data set."""
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
    """Make the folder ready for the shards, if it is not of others."""
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
    for left in folder.glob(f"{_DRAFTS}*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)


def _save(folder: Path, index: dict[str, Any]) -> None:
    draft = folder / f"{_DRAFTS}{INDEX}"
    draft.write_text(json.dumps(index), encoding="utf-8")
    draft.replace(folder / INDEX)
