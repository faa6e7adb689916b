"""WHAM!: WSJ0-2mix with recorded ambient noise."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from torchsep.checks import check_choice
from torchsep.data.folders import same_names
from torchsep.data.recordings import Entry
from torchsep.data.speech_mixtures import SpeechMixtures

__all__ = ["WHAM"]


@dataclass(eq=False, kw_only=True)
class WHAM(SpeechMixtures):
    """WHAM!: single-channel mixtures of two speakers with ambient noise; the task determines mixture and sources.

    =================  ================  =============================
    task               mixture           sources
    =================  ================  =============================
    ``sep_clean``      ``mix_clean``     ``s1``, ``s2``
    ``sep_noisy``      ``mix_both``      ``s1``, ``s2``
    ``enhance_single`` ``mix_single``    ``s1``
    ``enhance_both``   ``mix_both``      ``mix_clean``
    =================  ================  =============================

    For noisy tasks, the noise is an additional source: ``sources=["s1", "s2", "noise"]``. Expects
    ``<root>/wav{8k,16k}/{min,max}/{tr,cv,tt}/{mix_both,mix_clean,mix_single,noise,s1,s2}/*.wav``.

    Args:
        root: folder that contains ``wav8k`` or ``wav16k``.
        split: ``train`` (tr), ``valid`` (cv) or ``test`` (tt).
        task: a task of the table.

    Further arguments as in :class:`SpeechMixtures` and :class:`Recordings`.

    References:
        G. Wichern et al., "WHAM!: extending speech separation to noisy environments", Interspeech 2019.
    """

    task: Literal["sep_clean", "sep_noisy", "enhance_single", "enhance_both"] = "sep_clean"

    tasks: ClassVar[dict[str, tuple[str, tuple[str, ...]]]] = {
        "sep_clean": ("mix_clean", ("s1", "s2")),
        "sep_noisy": ("mix_both", ("s1", "s2")),
        "enhance_single": ("mix_single", ("s1",)),
        "enhance_both": ("mix_both", ("mix_clean",)),
    }

    def __post_init__(self) -> None:
        check_choice(self.task, tuple(self.tasks), "task")
        if self.sources is None:
            self.sources = self.tasks[self.task][1]
        super().__post_init__()

    def entries(self) -> Iterator[Entry]:
        """An entry for each mixture of the task."""
        mixture, targets = self.tasks[self.task]
        sources = targets if mixture == "mix_clean" else (*targets, "noise")
        return same_names(self.folder(self.version, self.own_split), mixture, sources, self.own_split)
