"""LibriMix: mixtures of LibriSpeech speakers, with or without WHAM! noise."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from torchsep.checks import check_choice
from torchsep.data.recordings import Entry
from torchsep.data.speech_mixtures import SpeechMixtures, check_num_speakers

__all__ = ["LibriMix"]


@dataclass(eq=False, kw_only=True)
class LibriMix(SpeechMixtures):
    """Libri2Mix or Libri3Mix: single-channel mixtures of two or three LibriSpeech speakers.

    Expects ``<root>/wav{8k,16k}/{min,max}/metadata/mixture_<split>_<mixture_type>.csv``, as written by the LibriMix
    scripts. The tables contain absolute paths of the machine that created them, so files are searched below the root
    first.

    Args:
        root: the folder ``Libri2Mix`` or ``Libri3Mix``, or its parent.
        split: ``train`` (train-360), ``valid`` (dev) or ``test``; or ``train-100``.
        num_speakers: 2 or 3.
        mixture_type: ``mix_clean`` for the speakers, ``mix_both`` for the speakers and noise, or ``mix_single`` for one
            speaker and noise. The sources are the speakers; add the noise with ``sources=["s1", "s2", "noise"]``.

    Further arguments as in :class:`SpeechMixtures` and :class:`Recordings`.

    References:
        J. Cosentino, M. Pariente, S. Cornell, A. Deleforge, E. Vincent, "LibriMix: an open-source dataset for
        generalizable speech separation", arXiv:2005.11262, 2020.
    """

    num_speakers: int = 2
    mixture_type: Literal["mix_clean", "mix_both", "mix_single"] = "mix_clean"

    splits: ClassVar[Mapping[str, str]] = {
        "train": "train-360",
        "valid": "dev",
        "test": "test",
        "train-100": "train-100",
    }

    def __post_init__(self) -> None:
        check_num_speakers(self.num_speakers)
        check_choice(self.mixture_type, ("mix_clean", "mix_both", "mix_single"), "mixture_type")
        self._speakers = ["s1"] if self.mixture_type == "mix_single" else ["s1", "s2", "s3"][: self.num_speakers]
        if self.sources is None:
            self.sources = self._speakers
        super().__post_init__()

    def entries(self) -> Iterator[Entry]:
        """An entry for each row of the table."""
        name = f"Libri{self.num_speakers}Mix"
        root = self.folder(name) if (self.folder() / name).is_dir() else self.folder()
        table = root / self.version / "metadata" / f"mixture_{self.own_split}_{self.mixture_type}.csv"
        if not table.is_file():
            raise FileNotFoundError(f"{table}: does not exist; check split, file_rate, mode and num_speakers")
        columns = {speaker: f"source_{speaker[1]}_path" for speaker in self._speakers}
        if self.mixture_type != "mix_clean":
            columns["noise"] = "noise_path"
        with table.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                missing = [key for key in ("mixture_ID", "mixture_path", *columns.values()) if not row.get(key)]
                if missing:
                    raise ValueError(f"{table}: must have the columns {', '.join(missing)} in every line")
                sources = {source: (_found(root, row[column]),) for source, column in columns.items()}
                yield Entry(f"{self.own_split}/{row['mixture_ID']}", _found(root, row["mixture_path"]), sources)


def _found(root: Path, path: str) -> Path:
    """Path of a file listed in a table: below the root, or the listed path if only that exists."""
    parts = Path(path.replace("\\", "/")).parts
    here = root.joinpath(*parts[-5:])  # wav8k/min/dev/s1/x.wav
    return Path(path) if not here.is_file() and Path(path).is_file() else here
