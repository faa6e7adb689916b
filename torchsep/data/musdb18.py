"""MUSDB18-HQ: songs with four stems."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torchsep.data.folders import subfolders
from torchsep.data.recordings import Entry, Recordings

__all__ = ["MUSDB18HQ"]

_STEMS = ("drums", "bass", "other", "vocals")
# The standard validation songs of the folder train.
_VALID = (
    "ANiMAL - Rockshow",
    "Actions - One Minute Smile",
    "Alexander Ross - Goodbye Bolero",
    "Clara Berry And Wooldog - Waltz For My Victims",
    "Fergessen - Nos Palpitants",
    "James May - On The Line",
    "Johnny Lokke - Promises & Lies",
    "Leaf - Summerghost",
    "Meaxic - Take A Step",
    "Patrick Talbot - A Reason To Leave",
    "Skelpolu - Human Mistakes",
    "Traffic Experiment - Sirens",
    "Triviul - Angelsaint",
    "Young Griffo - Pennies",
)


@dataclass(eq=False)
class MUSDB18HQ(Recordings):
    """MUSDB18-HQ: 150 stereo songs at 44.1 kHz with the sources drums, bass, other and vocals.

    Expects ``<root>/{train,test}/<artist - title>/{mixture,drums,bass,other,vocals}.wav``, as published. Of the 100
    songs in ``train``, 86 are used for training and 14 for validation.

    Args:
        root: folder that contains ``train`` and ``test``.
        split: ``train``, ``valid`` or ``test``.

    Further arguments as in :class:`Recordings`.

    References:
        Z. Rafii, A. Liutkus, F.-R. Stöter, S. I. Mimilakis, R. Bittner, "MUSDB18-HQ - an uncompressed version of
        MUSDB18", 2019.
    """

    splits: ClassVar[Mapping[str, str]] = {"train": "train", "valid": "train", "test": "test"}

    def entries(self) -> Iterator[Entry]:
        """An entry for each song folder."""
        for song in subfolders(self.folder(self.own_split)):
            if self.split == "test" or (song.name in _VALID) == (self.split == "valid"):
                sources = {stem: (song / f"{stem}.wav",) for stem in _STEMS}
                yield Entry(f"{self.own_split}/{song.name}", song / "mixture.wav", sources)
