"""What separators are run on: files and synthesised scenes."""

from torchsep.data.files import AudioFiles, find_audio_files
from torchsep.data.synthetic import music_and_voice

__all__ = ["AudioFiles", "find_audio_files", "music_and_voice"]
