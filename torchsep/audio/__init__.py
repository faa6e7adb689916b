"""Reading and writing of audio files, and resampling.

Waveforms are tensors ``(C, T)``, durations are in seconds, full scale is 1.0. Error messages are a single line that
starts with the path of the file: ``ValueError`` for invalid contents or arguments, ``OSError`` for system errors.
"""

from torchsep.audio.encoding import Written
from torchsep.audio.formats import AUDIO_SUFFIXES, Compression, Overflow, check_encoding
from torchsep.audio.reading import AudioInfo, check_rate, probe, read, read_blocks
from torchsep.audio.source_writer import SourceWriter
from torchsep.audio.writing import write, write_sources
from torchsep.functional.resampling import resample

__all__ = [
    "AUDIO_SUFFIXES",
    "AudioInfo",
    "Compression",
    "Overflow",
    "SourceWriter",
    "Written",
    "check_encoding",
    "check_rate",
    "probe",
    "read",
    "read_blocks",
    "resample",
    "write",
    "write_sources",
]
