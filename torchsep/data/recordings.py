"""Base class of data sets of recordings with sources."""

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch.utils.data import Dataset

from torchsep.checks import check_choice, check_integer, check_number
from torchsep.data.grouping import as_groups, check_groups, grouped
from torchsep.data.index import Header, headers
from torchsep.data.seeding import generator_for
from torchsep.data.sums import common_header, read_sums

__all__ = ["Entry", "Recordings"]


@dataclass(frozen=True)
class Entry:
    """The files of one recording.

    Args:
        id: unique name of the recording: a path relative to the root, without suffix.
        mixture: file of the mixture; if None, the mixture is the sum of all sources.
        sources: files of each source, which are summed; a source without files is silent.
    """

    id: str
    mixture: Path | None
    sources: Mapping[str, tuple[Path, ...]]


@dataclass(frozen=True)
class _Recording:
    """A validated entry; ``rows`` are the files of the mixture, followed by those of each source."""

    id: str
    names: tuple[str, ...]
    rows: tuple[tuple[Path, ...], ...]
    header: Header


@dataclass(eq=False)
class Recordings(Dataset[dict[str, Any]], ABC):
    """Base class of data sets of recordings: mixtures ``(C, T)`` and sources ``(S, C, T)`` in float32.

    An item is a dictionary of ``mixture``, ``sources``, ``id`` and ``sample_rate``. :meth:`names_of` returns the source
    names of an item, and ``names`` those of all items, if they are equal. ``ids`` is available without reading samples.
    A subclass is a dataclass that implements :meth:`entries`, which lists the files. The headers of all files are read
    when the data set is constructed, and cached (:mod:`torchsep.data.index`).

    Args:
        root: root folder of the data set.
        split: ``train``, ``valid`` or ``test``, or the native name of a split.
        sources: names of the sources to load, in this order; or a mapping from group names to the sources to sum, in
            which ``"*"`` stands for all sources not in another group. The mixture is unchanged.
        sample_rate: sample rate of the items in Hz; that of the files if None.
        channels: number of channels of the items; that of the files if None. 1 averages the channels, and
            single-channel files are repeated to match the others.
        duration: duration of the items in seconds; whole recordings if None. Shorter recordings are zero-padded.
        excerpts: ``random`` for one random excerpt of each recording, different in each epoch (:meth:`set_epoch`);
            ``all`` for consecutive excerpts, with ids that end in ``#`` and the start in seconds.
        seed: random seed of the excerpts.
        on_error: ``raise``, or ``skip`` to skip incomplete or damaged recordings with a warning. Errors found only when
            reading samples replace the item by the next one.
        limit: maximum number of recordings, taken from the start; all if None.

    Raises:
        FileNotFoundError: if the root or a file is missing.
        ValueError: if a file is damaged, or the files of a recording differ in sample rate or length.

    Example:
        >>> import tempfile
        >>> from torchsep import audio
        >>> @dataclass(eq=False)
        ... class Duets(Recordings):
        ...     def entries(self) -> Iterator[Entry]:
        ...         for duet in sorted(self.folder(self.own_split).iterdir()):
        ...             sources = {name: (duet / f"{name}.wav",) for name in ("flute", "harp")}
        ...             yield Entry(f"{self.own_split}/{duet.name}", None, sources)
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("flute", "harp"):
        ...         _ = audio.write(f"{root}/test/first/{name}.wav", torch.full((1, 4000), 0.25), 8000)
        ...     item = Duets(root, "test", sample_rate=16000, duration=0.5)[0]
        >>> item["id"], item["mixture"].shape, item["sources"].shape
        ('test/first', torch.Size([1, 8000]), torch.Size([2, 1, 8000]))
    """

    root: str | os.PathLike[str]
    split: str | None
    _: KW_ONLY
    sources: Mapping[str, Sequence[str]] | Sequence[str] | None = None
    sample_rate: int | None = None
    channels: int | None = None
    duration: float | None = None
    excerpts: Literal["random", "all"] = "random"
    seed: int = 0
    on_error: Literal["raise", "skip"] = "raise"
    limit: int | None = None

    splits: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def entries(self) -> Iterable[Entry]:
        """Recordings of the split, in a fixed order."""

    def __post_init__(self) -> None:
        self._check_options()
        groups = as_groups(self.sources)
        self._left_out: list[str] = []
        entries = list(islice(self.entries(), self.limit))
        check_groups(groups, {name for entry in entries for name in entry.sources})
        self._recordings = self._validated(entries, groups)
        if not self._recordings:
            first = f"; {self._left_out[0]}" if self._left_out else ""
            raise ValueError(f"{self.root}: holds no recording{f' of {self.split}' if self.split else ''}{first}")
        if self._left_out:
            total = len(self._left_out) + len(self._recordings)
            message = f"{len(self._left_out)} of {total} recordings are left out; the first: {self._left_out[0]}"
            warnings.warn(message, stacklevel=3)
        self._excerpts = list(self._all_excerpts())
        self.ids = [self._id_at(index, start) for index, start in self._excerpts]
        names = {recording.names for recording in self._recordings}
        self.names: tuple[str, ...] = names.pop() if len(names) == 1 else ()
        # In shared memory, so that persistent workers see the new epoch.
        self._epoch = torch.zeros((), dtype=torch.int64, device="cpu").share_memory_()

    def __len__(self) -> int:
        return len(self._excerpts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        first = range(len(self))[index]
        for position in chain(range(first, len(self)), range(first)):
            try:
                return self._item(position)
            except (OSError, ValueError) as error:
                if self.on_error == "raise":
                    raise
                warnings.warn(f"{error}; the next item is taken instead", stacklevel=2)
        raise ValueError(f"{self.root}: none of the recordings can be read")

    def names_of(self, index: int) -> tuple[str, ...]:
        """Names of the sources of one item."""
        return self._recordings[self._excerpts[index][0]].names

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which determines the random excerpts, including in running workers."""
        check_integer(epoch, "epoch", at_least=0)
        self._epoch.fill_(epoch)

    @property
    def own_split(self) -> str:
        """Native name of the split in the data set; empty if there is none."""
        return self.splits.get(self.split or "", self.split or "")

    def folder(self, *parts: str) -> Path:
        """Path of a folder below the root.

        Raises:
            FileNotFoundError: if the folder does not exist.
        """
        folder = Path(self.root).expanduser().joinpath(*parts)
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: is no folder; root must be that of the data set, got {self.root}")
        return folder

    def leave_out(self, error: Exception) -> None:
        """Raise the error of a recording, or record it as skipped, depending on ``on_error``."""
        if self.on_error == "raise":
            raise error
        self._left_out.append(str(error))

    def _check_options(self) -> None:
        if self.splits:
            check_choice(self.split, tuple(dict.fromkeys((*self.splits, *self.splits.values()))), "split")
        check_choice(self.excerpts, ("random", "all"), "excerpts")
        check_choice(self.on_error, ("raise", "skip"), "on_error")
        check_integer(self.seed, "seed", at_least=0)
        for name in ("sample_rate", "channels", "limit"):
            if getattr(self, name) is not None:
                check_integer(getattr(self, name), name, at_least=1)
        if self.duration is not None:
            check_number(self.duration, "duration", above=0.0)

    def _validated(self, entries: Sequence[Entry], groups: Mapping[str, tuple[str, ...]] | None) -> list[_Recording]:
        """Recordings with complete and consistent files."""
        wanted = []
        for entry in entries:
            sources = dict(entry.sources) if groups is None else grouped(entry.sources, groups)
            whole = tuple(chain(*entry.sources.values())) if entry.mixture is None else (entry.mixture,)
            wanted.append((entry.id, tuple(sources), (whole, *sources.values())))
        known = headers({path for _, _, rows in wanted for path in chain(*rows)}, Path(self.root).expanduser())
        recordings: dict[str, _Recording] = {}
        for id_, names, rows in wanted:
            files = tuple(dict.fromkeys(chain(*rows)))
            try:
                if id_ in recordings or not files:
                    problem = "the id of two recordings" if files else "has no audio file"
                    raise ValueError(f"{id_}: {problem}")
                recordings[id_] = _Recording(id_, names, rows, common_header(known, files, self.channels))
            except (OSError, ValueError) as error:
                self.leave_out(error)
        return list(recordings.values())

    def _length(self, frames: int, from_rate: int, rate: int) -> int:
        """Length of an item in samples at a sample rate; resampling rounds up."""
        return -(-frames * rate // from_rate) if self.duration is None else max(1, round(self.duration * rate))

    def _all_excerpts(self) -> Iterator[tuple[int, int | None]]:
        """Recording index and start sample of each item; the start is None if it is random."""
        for index, recording in enumerate(self._recordings):
            frames, rate, _ = recording.header
            if self.duration is None:
                yield index, 0
            elif self.excerpts == "random":
                yield index, None
            else:
                yield from ((index, start) for start in range(0, frames, self._length(frames, rate, rate)))

    def _id_at(self, index: int, start: int | None) -> str:
        """Id of a recording, or of its excerpt from a start sample."""
        recording = self._recordings[index]
        if start is None or self.duration is None:
            return recording.id
        return f"{recording.id}#{start / recording.header.rate:.6f}".rstrip("0").rstrip(".")

    def _item(self, index: int) -> dict[str, Any]:
        number, start = self._excerpts[index]
        recording = self._recordings[number]
        frames, from_rate, _ = recording.header
        rate = self.sample_rate or from_rate
        if start is None:
            choices = max(1, frames - self._length(frames, from_rate, from_rate) + 1)
            generator = generator_for(self.seed, int(self._epoch), index)
            start = int(torch.randint(choices, (), generator=generator, device="cpu"))
        sums = read_sums(recording.rows, recording.header, start, self._length(frames, from_rate, rate), rate)
        return {"mixture": sums[0], "sources": sums[1:], "id": self.ids[index], "sample_rate": rate}
