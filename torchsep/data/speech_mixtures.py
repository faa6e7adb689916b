"""Base class of the speech mixture data sets WSJ0-mix, WHAM! and LibriMix."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torchsep.checks import check_choice
from torchsep.data.recordings import Recordings

__all__ = ["SpeechMixtures", "check_num_speakers"]


@dataclass(eq=False, kw_only=True)
class SpeechMixtures(Recordings):
    """Speech mixtures in folders ``wav{8k,16k}/{min,max}``, with matching file names for mixtures and sources.

    Args:
        file_rate: sample rate of the files in Hz, 8000 or 16000.
        mode: ``min`` for mixtures truncated to the shortest utterance, ``max`` for mixtures padded to the longest.

    Further arguments as in :class:`Recordings`.
    """

    file_rate: int = 8000
    mode: Literal["min", "max"] = "min"

    splits: ClassVar[Mapping[str, str]] = {"train": "tr", "valid": "cv", "test": "tt"}

    @property
    def version(self) -> str:
        """Folder of the version."""
        return f"wav{self.file_rate // 1000}k/{self.mode}"

    def _check_options(self) -> None:
        super()._check_options()
        if self.file_rate not in {8000, 16000}:
            raise ValueError(f"file_rate must be 8000 or 16000, got {self.file_rate!r}")
        check_choice(self.mode, ("min", "max"), "mode")


def check_num_speakers(num_speakers: object) -> None:
    """Raise unless the number of speakers is 2 or 3."""
    if num_speakers not in {2, 3}:
        raise ValueError(f"num_speakers must be 2 or 3, got {num_speakers!r}")
