"""What separators are run on: data sets, files and synthesised scenes."""

from torchsep.data.files import AudioFiles, find_audio_files
from torchsep.data.folders import MixtureFolder, StemFolder
from torchsep.data.fuss import FUSS
from torchsep.data.librimix import LibriMix
from torchsep.data.musdb18 import MUSDB18HQ
from torchsep.data.recordings import Entry, Recordings
from torchsep.data.scenes import Scenes
from torchsep.data.slakh2100 import Slakh2100
from torchsep.data.synthetic import music_and_voice
from torchsep.data.wham import WHAM
from torchsep.data.wsj0_mix import WSJ0Mix

__all__ = [
    "FUSS",
    "MUSDB18HQ",
    "WHAM",
    "AudioFiles",
    "Entry",
    "LibriMix",
    "MixtureFolder",
    "Recordings",
    "Scenes",
    "Slakh2100",
    "StemFolder",
    "WSJ0Mix",
    "find_audio_files",
    "music_and_voice",
]
