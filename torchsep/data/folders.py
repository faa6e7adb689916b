"""Generic data sets of folders of mixtures and sources."""

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from torchsep import audio
from torchsep.data.recordings import Entry, Recordings

__all__ = ["MixtureFolder", "StemFolder", "same_names", "subfolders"]

_SOURCES = "sources"


def subfolders(folder: Path) -> list[Path]:
    """Sorted subfolders, except hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _audio_files(folder: Path) -> list[Path]:
    """Sorted audio files in a folder, except hidden ones."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in audio.AUDIO_SUFFIXES)
    return sorted(path for path in found if not path.name.startswith(".") and path.is_file())


def same_names(folder: Path, mixture: str, sources: Sequence[str], prefix: str) -> Iterator[Entry]:
    """An entry for each audio file in ``folder/mixture``, with sources of the same name in ``folder/<source>``."""
    if not (folder / mixture).is_dir():
        raise FileNotFoundError(f"{folder / mixture}: does not exist; it must contain the mixtures")
    for path in _audio_files(folder / mixture):
        id_ = f"{prefix}/{path.stem}" if prefix else path.stem
        yield Entry(id_, path, {source: (folder / source / path.name,) for source in sources})


@dataclass(eq=False)
class MixtureFolder(Recordings):
    """Data set with mixtures in one folder and each source in another, under the same file names.

    Expects ``<root>[/<split>]/<mixture_folder>/<name>.wav`` and ``<root>[/<split>]/<source folder>/<name>.wav``, in any
    audio format.

    Args:
        root: root folder of the data set.
        split: subfolder of the root, or None for the root itself.
        mixture_folder: name of the folder of the mixtures.
        source_folders: names of the folders of the sources.

    Further arguments as in :class:`Recordings`.
    """

    split: str | None = None
    _: KW_ONLY
    mixture_folder: str = "mix"
    source_folders: Sequence[str] = ("s1", "s2")

    def entries(self) -> Iterator[Entry]:
        """An entry for each audio file in the mixture folder."""
        return same_names(self.folder(self.own_split), self.mixture_folder, self.source_folders, self.own_split)


@dataclass(eq=False)
class StemFolder(Recordings):
    """Data set with one folder for each recording, which contains a file for each source.

    A folder below the root, at any depth, is a recording if it contains audio files ``<source>.wav``, or of any other
    format, beside the mixture or in a subfolder ``sources``; its other subfolders are ignored. Without a mixture file,
    the mixture is the sum of all sources. Recordings may differ in sources, sample rate and channels; if ``sources``
    is given, all items have these sources, silent where a recording lacks one.

    Args:
        root: root folder of the data set.
        split: subfolder of the root, or None for the root itself.
        mixture: file name of the mixtures, without suffix.

    Further arguments as in :class:`Recordings`.

    Example:
        >>> import tempfile
        >>> from torchsep import audio
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("drums", "voice"):
        ...         _ = audio.write(f"{folder}/song/{name}.wav", torch.full((1, 4000), 0.25), 8000)
        ...     data = StemFolder(folder, duration=0.1)
        ...     item = data[0]
        >>> data.names, item["id"], item["mixture"].shape, item["sources"].shape, item["mixture"].max().item()
        (('drums', 'voice'), 'song', torch.Size([1, 800]), torch.Size([2, 1, 800]), 0.5)
    """

    split: str | None = None
    _: KW_ONLY
    mixture: str = "mixture"

    def entries(self) -> Iterator[Entry]:
        """An entry for each folder with audio files."""
        root = self.folder()
        for folder in _folders_with_audio(self.folder(self.own_split)):
            try:
                yield self._entry(folder, folder.relative_to(root).as_posix())
            except ValueError as error:
                self.leave_out(error)

    def _entry(self, folder: Path, id_: str) -> Entry:
        beside = _audio_files(folder)
        mixtures = [path for path in beside if path.stem == self.mixture]
        inside = _audio_files(folder / _SOURCES) if (folder / _SOURCES).is_dir() else []
        stems = inside or [path for path in beside if path.stem != self.mixture]
        for paths in (mixtures, stems):
            names = [path.stem for path in paths]
            if twice := [path.name for path in paths if names.count(path.stem) > 1]:
                raise ValueError(f"{folder}: must contain each source once, got {', '.join(twice)}")
        if not stems:
            raise ValueError(f"{folder}: must contain sources beside {mixtures[0].name}")
        return Entry(id_, mixtures[0] if mixtures else None, {path.stem: (path,) for path in stems})


def _folders_with_audio(folder: Path) -> Iterator[Path]:
    """Recording folders below a folder, at any depth, excluding subfolders of recordings."""
    waiting, seen = subfolders(folder)[::-1], {folder.resolve()}
    while waiting:
        current = waiting.pop()
        if current.resolve() in seen:  # circular links
            continue
        seen.add(current.resolve())
        inside = subfolders(current)
        if _audio_files(current) or any(path.name == _SOURCES and _audio_files(path) for path in inside):
            yield current
        else:
            waiting += inside[::-1]
