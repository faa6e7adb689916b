"""The files that a command's arguments stand for."""

import glob
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torchsep import audio

__all__ = ["Inputs", "find_inputs", "mark"]

_MARKER = ".torchsep"


@dataclass
class Inputs:
    """Audio files, each with the folder in whose tree it was found, its parent if it was named itself.

    ``notes`` are what the user should know of folders that were searched, one line each.
    """

    roots: dict[Path, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def files(self) -> list[Path]:
        """The files, in the order in which they were found."""
        return list(self.roots)


def mark(folder: Path, name: str) -> None:
    """Note in an output folder that a folder in it holds results, so that :func:`find_inputs` passes over that."""
    if name not in _marked(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / _MARKER).open("a", encoding="utf-8") as stream:  # other runs may write to it
            stream.write(f"{name}\n")


def _marked(folder: Path) -> list[str]:
    """The names of the folders of results in a folder."""
    try:
        return (folder / _MARKER).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def find_inputs(arguments: Sequence[str | os.PathLike[str]], output: Path | None = None) -> Inputs:
    """The audio files that arguments stand for: files, folders, which are searched recursively, and patterns.

    A search passes over the results of ``torchsep separate``: the output folder, and the folders that a file
    ``.torchsep`` beside them names. A file or folder that is an argument itself is an input wherever it lies. A link to
    a missing file is an input too, so that its failure is reported.

    Args:
        arguments: paths of files and folders, and patterns such as ``music/*.wav`` or ``music/**/*.wav``, whose root is
            the folder before the first wildcard; a file that is reached twice is found once.
        output: folder of the results to come.

    Raises:
        ValueError: if no audio file is found, or a folder holds neither audio nor results.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("song.wav", "album/a.flac", "separated/hpss/song/harmonic.wav"):
        ...         path = Path(folder, name)
        ...         path.parent.mkdir(parents=True, exist_ok=True)
        ...         path.touch()
        ...     inputs = find_inputs([folder], Path(folder, "separated"))
        >>> [file.name for file in inputs.files], len(inputs.notes)
        (['a.flac', 'song.wav'], 1)
    """
    search = _Search(output)
    for path in map(Path, arguments):
        if path.is_dir():
            search.folder(path)
        elif glob.has_magic(str(path)) and not os.path.lexists(path):
            search.pattern(path)
        else:
            search.add(path, path.parent)
    search.note_passed()
    if not search.inputs.files:
        got = "; ".join((", ".join(map(str, arguments)) or "none", *search.inputs.notes))
        raise ValueError(f"FILE must be or hold an audio file, got {got}")
    return search.inputs


class _Search:
    """The inputs found so far."""

    def __init__(self, output: Path | None) -> None:
        self.inputs = Inputs()
        self._output = None if output is None else os.path.realpath(output)
        self._seen: set[str] = set()
        self._passed: set[Path] = set()

    def add(self, file: Path, root: Path) -> None:
        """Take a file, unless it is known by another path."""
        real = os.path.realpath(file)
        if real not in self._seen:
            self._seen.add(real)
            self.inputs.roots[file] = root

    def folder(self, root: Path) -> None:
        """Search a folder."""
        passed = len(self._passed)
        found = self._below(root)
        for file in found:
            self.add(file, root)
        if not found and len(self._passed) == passed:
            raise ValueError(f"{root} holds no audio file ({', '.join(audio.AUDIO_SUFFIXES)})")

    def pattern(self, pattern: Path) -> None:
        """Search what a pattern matches: audio files, and folders."""
        fixed = itertools.takewhile(lambda part: not glob.has_magic(part), pattern.parts)
        root, found, passed = Path(*fixed), False, len(self._passed)
        for path in map(Path, sorted(glob.glob(str(pattern), recursive=True))):  # noqa: PTH207 - which takes any path
            if self._is_in_results(path, root):
                continue
            files = self._below(path) if path.is_dir() else [path] if _is_audio(path.name) else []
            found = found or bool(files)
            for file in files:
                self.add(file, root)
        if not found and len(self._passed) == passed:
            self.add(pattern, pattern.parent)  # a missing file, whose name may hold brackets

    def note_passed(self) -> None:
        """Note the results that were passed over, in one line."""
        if self._passed:
            self.inputs.notes.append(f"passed over results of torchsep: {', '.join(map(str, sorted(self._passed)))}")

    def _below(self, root: Path) -> list[Path]:
        """The audio files below a folder, but for results."""
        found = []
        for text, folders, names in os.walk(root, onerror=self._unreadable):
            parent = Path(text)
            known = _marked(parent) if _MARKER in names else []
            results = [name for name in folders if name in known or self._is_output(parent / name)]
            self._passed.update(parent / name for name in results)
            self._note_folders(parent, folders, results)
            folders[:] = [name for name in folders if name not in results]
            found += [path for path in (parent / name for name in names if _is_audio(name)) if self._is_input(path)]
        return sorted(found)

    def _is_in_results(self, path: Path, root: Path) -> bool:
        """Whether a path is or lies below results that lie below the root."""
        for folder in (path, *path.parents):
            if folder == root:
                return False
            if folder.is_dir() and (self._is_output(folder) or folder.name in _marked(folder.parent)):
                self._passed.add(folder)
                return True
        return False

    def _is_input(self, path: Path) -> bool:
        """Whether a path is a file, or a link to a missing one; reading a pipe would wait for ever."""
        if path.exists() and not path.is_file():
            self.inputs.notes.append(f"{path} is not a regular file and was passed over")
            return False
        return True

    def _is_output(self, folder: Path) -> bool:
        return os.path.realpath(folder) == self._output

    def _note_folders(self, parent: Path, folders: Sequence[str], results: Sequence[str]) -> None:
        """Note folders that look like files, and links to folders, which are not followed."""
        for path in (parent / name for name in sorted(folders) if name not in results):
            if path.is_symlink():
                self.inputs.notes.append(f"{path} is a link to a folder, which is not followed; name it to include it")
            elif _is_audio(path.name):
                self.inputs.notes.append(f"{path} is a folder in spite of its name; it was searched")

    def _unreadable(self, error: OSError) -> None:
        self.inputs.notes.append(f"{error.filename} cannot be read ({error.strerror})")


def _is_audio(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in audio.AUDIO_SUFFIXES
