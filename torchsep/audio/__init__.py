"""Read and write audio files; everything else in the library passes tensors.

Waveforms are (channels, samples), times are seconds, full scale is 1.0. Every error is one line, which begins with the
path of the file where there is one: ``ValueError`` for what a file or an argument holds, a kind of ``OSError`` for what
the system refuses.
"""

from torchsep.audio.encoding import Written
from torchsep.audio.formats import AUDIO_SUFFIXES, Overflow, check_encoding
from torchsep.audio.reading import AudioInfo, probe, read, read_blocks
from torchsep.audio.resampling import resample
from torchsep.audio.source_writer import SourceWriter
from torchsep.audio.writing import write, write_sources

__all__ = [
    "AUDIO_SUFFIXES",
    "AudioInfo",
    "Overflow",
    "SourceWriter",
    "Written",
    "check_encoding",
    "probe",
    "read",
    "read_blocks",
    "resample",
    "write",
    "write_sources",
]
