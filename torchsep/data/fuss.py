"""FUSS: universal sound separation with a background and up to three foreground sounds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torchsep.data.recordings import Entry, Recordings

__all__ = ["FUSS"]

_SOURCES = ("background0", "foreground0", "foreground1", "foreground2")


@dataclass(eq=False)
class FUSS(Recordings):
    """FUSS: 10 s single-channel mixtures at 16 kHz of a background and up to three foreground sounds.

    Items always have the four sources ``background0`` and ``foreground0`` to ``foreground2``; missing ones are silent.
    Expects ``<root>/<split>_example_list.txt``, each line of which contains the tab-separated paths of a mixture and
    its sources relative to the root.

    Args:
        root: folder of the example lists, ``ssdata`` or ``ssdata_reverb``.
        split: ``train``, ``valid`` (validation) or ``test`` (eval).

    Further arguments as in :class:`Recordings`.

    References:
        S. Wisdom et al., "What's all the FUSS about free universal sound separation data?", ICASSP 2021.
    """

    splits: ClassVar[Mapping[str, str]] = {"train": "train", "valid": "validation", "test": "eval"}

    def entries(self) -> Iterator[Entry]:
        """An entry for each line of the list."""
        root = self.folder()
        examples = root / f"{self.own_split}_example_list.txt"
        if not examples.is_file():
            raise FileNotFoundError(f"{examples}: does not exist; root must be the folder of the example lists")
        for line in examples.read_text(encoding="utf-8").splitlines():
            if not line.strip():
                continue
            mixture, *sounds = (root / path for path in line.strip().split("\t"))
            found = {sound.stem.removesuffix("_sound"): (sound,) for sound in sounds}
            id_ = mixture.relative_to(root).with_suffix("").as_posix()
            if unknown := found.keys() - set(_SOURCES):
                self.leave_out(ValueError(f"{examples}: {id_} must have sources {_SOURCES}, got {sorted(unknown)}"))
            else:
                yield Entry(id_, mixture, {source: found.get(source, ()) for source in _SOURCES})
