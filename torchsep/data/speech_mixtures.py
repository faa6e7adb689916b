"""Mixtures of speakers that come in versions: what WSJ0-mix, WHAM! and LibriMix have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torchsep.checks import check_choice
from torchsep.data.recordings import Recordings

__all__ = ["SpeechMixtures", "check_num_speakers"]


@dataclass(eq=False, kw_only=True)
class SpeechMixtures(Recordings):
    """Mixtures of speakers in folders ``wav{8k,16k}/{min,max}``, where files of the same name belong together.

    Args:
        file_rate: 8000 or 16000, the sample rate of the version read, in Hz.
        mode: ``min`` for mixtures that end with the first speaker, ``max`` with the last.

    Further arguments are those of :class:`Recordings`.
    """

    file_rate: int = 8000
    mode: Literal["min", "max"] = "min"

    splits: ClassVar[Mapping[str, str]] = {"train": "tr", "valid": "cv", "test": "tt"}

    @property
    def version(self) -> str:
        """The folder of the version."""
        return f"wav{self.file_rate // 1000}k/{self.mode}"

    def _check_options(self) -> None:
        super()._check_options()
        if self.file_rate not in {8000, 16000}:
            raise ValueError(f"file_rate must be 8000 or 16000, got {self.file_rate!r}")
        check_choice(self.mode, ("min", "max"), "mode")


def check_num_speakers(num_speakers: object) -> None:
    """Raise unless a number of speakers is one that these data sets come with."""
    if num_speakers not in {2, 3}:
        raise ValueError(f"num_speakers must be 2 or 3, got {num_speakers!r}")
