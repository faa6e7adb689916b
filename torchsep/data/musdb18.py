"""MUSDB18-HQ: songs in four stems."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torchsep.data.folders import subfolders
from torchsep.data.recordings import Entry, Recordings

__all__ = ["MUSDB18HQ"]

_STEMS = ("drums", "bass", "other", "vocals")
# The songs of the folder train by which its authors, and all after them, choose models.
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
    """MUSDB18-HQ: 150 songs in stereo at 44.1 kHz, whose sources are drums, bass, other and vocals.

    Expects ``<root>/{train,test}/<artist - title>/{mixture,drums,bass,other,vocals}.wav``, as it is published. Of the
    100 songs in ``train``, 86 are for training and 14 for validation.

    Args:
        root: folder that holds ``train`` and ``test``.
        split: ``train``, ``valid`` or ``test``.

    Further arguments are those of :class:`Recordings`.

    References:
        Z. Rafii, A. Liutkus, F.-R. Stöter, S. I. Mimilakis, R. Bittner, "MUSDB18-HQ - an uncompressed version of
        MUSDB18", 2019.
    """

    splits: ClassVar[Mapping[str, str]] = {"train": "train", "valid": "train", "test": "test"}

    def entries(self) -> Iterator[Entry]:
        """One for each folder of a song."""
        for song in subfolders(self.folder(self.own_split)):
            if self.split == "test" or (song.name in _VALID) == (self.split == "valid"):
                sources = {stem: (song / f"{stem}.wav",) for stem in _STEMS}
                yield Entry(f"{self.own_split}/{song.name}", song / "mixture.wav", sources)
