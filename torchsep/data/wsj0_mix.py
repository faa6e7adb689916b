"""WSJ0-2mix and WSJ0-3mix: mixtures of two or three speakers without noise."""

from collections.abc import Iterator
from dataclasses import dataclass

from torchsep.data.folders import same_names
from torchsep.data.recordings import Entry
from torchsep.data.speech_mixtures import SpeechMixtures, check_num_speakers

__all__ = ["WSJ0Mix"]


@dataclass(eq=False, kw_only=True)
class WSJ0Mix(SpeechMixtures):
    """WSJ0-2mix or WSJ0-3mix: single-channel mixtures of two or three Wall Street Journal speakers.

    Expects ``<root>/{2,3}speakers/wav{8k,16k}/{min,max}/{tr,cv,tt}/{mix,s1,s2[,s3]}/*.wav``.

    Args:
        root: folder that contains ``2speakers`` or ``3speakers``.
        split: ``train`` (tr), ``valid`` (cv) or ``test`` (tt).
        num_speakers: 2 or 3.

    Further arguments as in :class:`SpeechMixtures` and :class:`Recordings`.

    References:
        J. R. Hershey, Z. Chen, J. Le Roux, S. Watanabe, "Deep clustering: discriminative embeddings for segmentation
        and separation", ICASSP 2016.
    """

    num_speakers: int = 2

    def entries(self) -> Iterator[Entry]:
        """An entry for each file in ``mix``."""
        check_num_speakers(self.num_speakers)
        folder = self.folder(f"{self.num_speakers}speakers", self.version, self.own_split)
        speakers = [f"s{speaker + 1}" for speaker in range(self.num_speakers)]
        return same_names(folder, "mix", speakers, self.own_split)
