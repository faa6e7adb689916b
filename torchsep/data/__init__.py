"""Data sets, dynamic mixing, augmentation and synthetic scenes."""

from typing import Any

from torchsep.data.augmentation import (
    Augmentation,
    Compose,
    RandomChannelSwap,
    RandomGain,
    RandomPitch,
    RandomPolarity,
    RandomSpeed,
)
from torchsep.data.augmented import Augmented, Remix
from torchsep.data.dynamic_mixing import DynamicMixing
from torchsep.data.effects import LoudnessNormalization, RandomDelay, RandomEqualizer, RandomPan
from torchsep.data.files import AudioFiles, find_audio_files
from torchsep.data.folders import MixtureFolder, StemFolder
from torchsep.data.fuss import FUSS
from torchsep.data.librimix import LibriMix
from torchsep.data.musdb18 import MUSDB18HQ
from torchsep.data.recordings import Entry, Recordings
from torchsep.data.scenes import Scenes
from torchsep.data.sharded_items import ShardedItems
from torchsep.data.shards import write_shards
from torchsep.data.slakh2100 import Slakh2100
from torchsep.data.source_files import find_groups
from torchsep.data.synthetic import music_and_voice
from torchsep.data.wham import WHAM
from torchsep.data.wsj0_mix import WSJ0Mix

__all__ = [
    "FUSS",
    "MUSDB18HQ",
    "WHAM",
    "AudioFiles",
    "Augmentation",
    "Augmented",
    "Compose",
    "DynamicMixing",
    "Entry",
    "LibriMix",
    "LoudnessNormalization",
    "MixtureFolder",
    "RandomChannelSwap",
    "RandomDelay",
    "RandomEqualizer",
    "RandomGain",
    "RandomPan",
    "RandomPitch",
    "RandomPolarity",
    "RandomSpeed",
    "Recordings",
    "Remix",
    "Scenes",
    "SeparationData",
    "ShardedItems",
    "Slakh2100",
    "StemFolder",
    "WSJ0Mix",
    "find_audio_files",
    "find_groups",
    "music_and_voice",
    "write_shards",
]


def __getattr__(name: str) -> Any:
    if name == "SeparationData":  # imports Lightning
        from torchsep.data.module import SeparationData

        return SeparationData
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
