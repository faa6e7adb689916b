"""Items of a page and their audio tracks."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from torchsep.data import find_audio_files
from torchsep.engine.evaluate.result_reader import Outcome, Run

__all__ = ["Item", "Track", "items_of_files", "items_of_runs"]

Kind: TypeAlias = Literal["mixture", "reference", "estimate", "file"]


@dataclass(frozen=True)
class Track:
    """An audio file of a mixture, reference or estimate."""

    path: Path
    kind: Kind
    source: str = ""
    separator: str = ""

    @property
    def title(self) -> str:
        """Title among the tracks of the same source."""
        return {"mixture": "Mixture", "reference": "Reference", "estimate": self.separator, "file": self.source}[
            self.kind
        ]

    @property
    def name(self) -> str:
        """Unique name among all tracks of the item.

        Example:
            >>> Track(Path("a.wav"), "estimate", "voice", "hpss").name
            'hpss, voice'
        """
        return f"{self.title}, {self.source}" if self.kind in {"reference", "estimate"} else self.title


@dataclass(frozen=True)
class Item:
    """Tracks of a mixture, and its outcome in each run, by label; ``methods`` are the labels that compete."""

    id: str
    tracks: tuple[Track, ...]
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    methods: frozenset[str] = frozenset()

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources that were scored."""
        return next((tuple(outcome.scores) for outcome in self.outcomes.values() if outcome.scores), ())


def items_of_runs(runs: Sequence[Run]) -> list[Item]:
    """All items of the runs, in order of first appearance."""
    ids = dict.fromkeys(id_ for run in runs for id_ in run.outcomes)
    methods = frozenset(run.label for run in runs if run.role == "method")
    items = []
    for id_ in ids:
        outcomes = {run.label: run.outcomes[id_] for run in runs if id_ in run.outcomes}
        items.append(Item(id_, tuple(_tracks(outcomes)), outcomes, methods))
    return items


def _tracks(outcomes: Mapping[str, Outcome]) -> list[Track]:
    """The mixture, followed by the reference and the estimates of each source."""
    tracks = [Track(outcome.mixture, "mixture") for outcome in outcomes.values() if outcome.mixture][:1]
    references: dict[str, Path] = {}
    estimates: dict[str, list[Track]] = {}
    for label, outcome in outcomes.items():
        references = {**outcome.references, **references}
        for key, path in outcome.audio.items():
            source = _source_of(key, outcome)
            estimates.setdefault(source, []).append(Track(path, "estimate", source, label))
    for source in dict.fromkeys([*references, *estimates]):
        if source in references:
            tracks.append(Track(references[source], "reference", source))
        tracks += estimates.get(source, [])
    return tracks


def _source_of(key: str, outcome: Outcome) -> str:
    """Source of an estimate, given the name of either."""
    if key in outcome.scores:
        return key
    return next((source for source, name in outcome.estimates.items() if name == key), key)


def items_of_files(paths: Sequence[Path], mixtures: Sequence[Path] = ()) -> list[Item]:
    """An item for each folder of audio files, and one for all individually listed files.

    Args:
        paths: output folders of ``torchsep separate``, parent folders of these, or files.
        mixtures: files named as the output folders, or folders of such files.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: if a folder contains no audio, or a mixture belongs to none of the folders.
    """
    for path in [*paths, *mixtures]:
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist; check the path")
    folders: dict[Path, list[Path]] = {}
    for file in find_audio_files([path for path in paths if path.is_dir()]):
        folders.setdefault(file.parent, []).append(file)
    items = [Item(id_, _parts(files)) for id_, files in zip(_ids(folders), folders.values(), strict=True)]
    single = [path for path in find_audio_files(paths) if path in set(paths)]
    if single:
        parents = {path.absolute().parent for path in single}
        items.insert(0, Item(next(iter(parents)).name if len(parents) == 1 else "Files", _parts(single)))
    return _with_mixtures(items, mixtures)


def _ids(folders: Mapping[Path, object]) -> list[str]:
    """Shortest unambiguous names of folders."""
    whole = [folder.absolute() for folder in folders]
    if len(whole) == 1:
        return [whole[0].name]
    common = os.path.commonpath(whole) if whole else ""
    return [
        Path(folder.name).as_posix() if str(folder) == common else folder.relative_to(common).as_posix()
        for folder in whole
    ]


def _parts(files: Sequence[Path]) -> tuple[Track, ...]:
    """A track for each file, mixture first."""
    names = [file.stem for file in files]
    tracks = []
    for file in files:
        name = file.stem if names.count(file.stem) == 1 else f"{file.parent.name}/{file.name}"
        tracks.append(Track(file, "mixture" if file.stem.lower() == "mixture" else "file", name))
    return tuple(sorted(tracks, key=lambda track: track.kind != "mixture"))


def _with_mixtures(items: list[Item], mixtures: Sequence[Path]) -> list[Item]:
    files = {file.stem: file for file in reversed(find_audio_files(mixtures))}
    if len(items) == len(files) == 1:
        matched = {items[0].id: next(iter(files.values()))}
    else:
        matched = {item.id: files[Path(item.id).name] for item in items if Path(item.id).name in files}
    used = {file.resolve() for file in matched.values()}
    lost = [path for path in mixtures if path.is_file() and path.resolve() not in used]
    if lost:
        raise ValueError(f"--mixture must be called as one of the folders, got {', '.join(map(str, lost))}")
    out = []
    for item in items:
        file = matched.get(item.id)
        others = tuple(track for track in item.tracks if file is None or track.path.resolve() != file.resolve())
        first = (Track(file, "mixture"),) if file else ()
        out.append(Item(item.id, (*first, *others)))
    return out
