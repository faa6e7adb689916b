"""Recordings on disk with their sources: what the data sets have in common."""

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
        id: its name, unlike all others in the data set: a path relative to the root, without suffix.
        mixture: the file of the mixture; if None all sources are summed.
        sources: for each source the files that are summed; one without files is silent.
    """

    id: str
    mixture: Path | None
    sources: Mapping[str, tuple[Path, ...]]


@dataclass(frozen=True)
class _Recording:
    """An entry that has been looked at: first the files of the mixture, then those of each source."""

    id: str
    names: tuple[str, ...]
    rows: tuple[tuple[Path, ...], ...]
    header: Header


@dataclass(eq=False)
class Recordings(Dataset[dict[str, Any]], ABC):
    """Recordings with their sources, as the mixture ``(C, T)`` and the sources ``(S, C, T)`` in float32.

    An item is a dictionary of ``mixture``, ``sources``, ``id`` and ``sample_rate``; :meth:`names_of` tells its sources,
    and ``names`` those of all items, if they are the same. ``ids`` are known without reading a sample.
    A subclass says which files there are: it is a dataclass that writes :meth:`entries`. The headers of all files are
    looked at when the data set is made, and kept for the next time (:mod:`torchsep.data.index`).

    Args:
        root: folder of the data set.
        split: ``train``, ``valid`` or ``test``, or the data set's own name for it.
        sources: names of the sources wanted, in this order; or groups, each a name and the sources summed under it, in
            which ``"*"`` stands for all that no group names. The mixture stays what it is.
        sample_rate: of the items in Hz; that of the files if None.
        channels: of the items; as many as in the files if None. 1 is the mean of all channels, and a file of one
            channel has it repeated beside files of more.
        duration: of the items in seconds, where only a part of each recording is read; whole recordings if None. What
            is shorter is followed by silence.
        excerpts: ``random`` for one place in each recording, drawn anew in each epoch (:meth:`set_epoch`); ``all`` for
            all places, one after the other, whose ids end in ``#`` and the second at which they begin.
        seed: of the random places.
        on_error: ``raise``, or ``skip`` to leave out recordings that are incomplete or damaged, with a warning. Where
            it shows only as the samples are read, the next item is taken instead.
        limit: the first so many recordings only; all if None.

    Raises:
        FileNotFoundError: if the root, or a file, is missing.
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
        """The recordings of the split, in a fixed order."""

    def __post_init__(self) -> None:
        self._check_options()
        groups = as_groups(self.sources)
        self._left_out: list[str] = []
        entries = list(islice(self.entries(), self.limit))
        check_groups(groups, {name for entry in entries for name in entry.sources})
        self._recordings = self._looked_at(entries, groups)
        if not self._recordings:
            first = f"; {self._left_out[0]}" if self._left_out else ""
            raise ValueError(f"{self.root}: holds no recording{f' of {self.split}' if self.split else ''}{first}")
        if self._left_out:
            total = len(self._left_out) + len(self._recordings)
            message = f"{len(self._left_out)} of {total} recordings are left out; the first: {self._left_out[0]}"
            warnings.warn(message, stacklevel=3)
        self._places = list(self._all_places())
        self.ids = [self._id_at(index, start) for index, start in self._places]
        names = {recording.names for recording in self._recordings}
        self.names: tuple[str, ...] = names.pop() if len(names) == 1 else ()
        # In shared memory, so that workers that outlive an epoch see the next one.
        self._epoch = torch.zeros((), dtype=torch.int64, device="cpu").share_memory_()

    def __len__(self) -> int:
        return len(self._places)

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
        return self._recordings[self._places[index][0]].names

    def set_epoch(self, epoch: int) -> None:
        """Draw other random places from now on, in running workers too; those of an epoch are always the same."""
        check_integer(epoch, "epoch", at_least=0)
        self._epoch.fill_(epoch)

    @property
    def own_split(self) -> str:
        """What the data set itself calls the split; empty if there is none."""
        return self.splits.get(self.split or "", self.split or "")

    def folder(self, *parts: str) -> Path:
        """A folder below the root.

        Raises:
            FileNotFoundError: if there is no such folder.
        """
        folder = Path(self.root).expanduser().joinpath(*parts)
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: is no folder; root must be that of the data set, got {self.root}")
        return folder

    def leave_out(self, error: Exception) -> None:
        """Raise what is wrong with a recording, or count it as left out, as ``on_error`` says."""
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

    def _looked_at(self, entries: Sequence[Entry], groups: Mapping[str, tuple[str, ...]] | None) -> list[_Recording]:
        """The entries that hold what they should."""
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
        """Samples of an item, at a rate; resampling rounds up."""
        return -(-frames * rate // from_rate) if self.duration is None else max(1, round(self.duration * rate))

    def _all_places(self) -> Iterator[tuple[int, int | None]]:
        """For each item its recording, and the sample at which it begins; None where that is drawn."""
        for index, recording in enumerate(self._recordings):
            frames, rate, _ = recording.header
            if self.duration is None:
                yield index, 0
            elif self.excerpts == "random":
                yield index, None
            else:
                yield from ((index, start) for start in range(0, frames, self._length(frames, rate, rate)))

    def _id_at(self, index: int, start: int | None) -> str:
        """The id of a recording, or of the part of it that begins at a sample."""
        recording = self._recordings[index]
        if start is None or self.duration is None:
            return recording.id
        return f"{recording.id}#{start / recording.header.rate:.6f}".rstrip("0").rstrip(".")

    def _item(self, index: int) -> dict[str, Any]:
        place, start = self._places[index]
        recording = self._recordings[place]
        frames, from_rate, _ = recording.header
        rate = self.sample_rate or from_rate
        if start is None:
            choices = max(1, frames - self._length(frames, from_rate, from_rate) + 1)
            generator = generator_for(self.seed, int(self._epoch), index)
            start = int(torch.randint(choices, (), generator=generator, device="cpu"))
        sums = read_sums(recording.rows, recording.header, start, self._length(frames, from_rate, rate), rate)
        return {"mixture": sums[0], "sources": sums[1:], "id": self.ids[index], "sample_rate": rate}
