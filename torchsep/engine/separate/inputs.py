"""The files that a command's arguments stand for."""

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
    """The audio files that arguments stand for: files, and folders, which are searched recursively.

    A search passes over the results of ``torchsep separate``: the output folder, and the folders that a file
    ``.torchsep`` beside them names. A file or folder that is an argument itself is an input wherever it lies. A link to
    a missing file is an input too, so that its failure is reported.

    Args:
        arguments: paths of files and folders; a file that is reached twice is found once.
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
        else:
            search.add(path, path.parent)
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

    def add(self, file: Path, root: Path) -> None:
        """Take a file, unless it is known by another path."""
        real = os.path.realpath(file)
        if real not in self._seen:
            self._seen.add(real)
            self.inputs.roots[file] = root

    def folder(self, root: Path) -> None:
        """Search a folder."""
        found, passed = [], []
        for text, folders, names in os.walk(root, onerror=self._unreadable):
            parent = Path(text)
            known = _marked(parent) if _MARKER in names else []
            results = [name for name in folders if name in known or self._is_output(parent / name)]
            passed += [parent / name for name in results]
            self._note_folders(parent, folders, results)
            folders[:] = [name for name in folders if name not in results]
            found += [path for path in (parent / name for name in names if _is_audio(name)) if self._is_input(path)]
        for file in sorted(found):
            self.add(file, root)
        if passed:
            self.inputs.notes.append(f"passed over results of torchsep: {', '.join(map(str, sorted(passed)))}")
        elif not found:
            raise ValueError(f"{root} holds no audio file ({', '.join(audio.AUDIO_SUFFIXES)})")

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
