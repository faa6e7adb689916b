"""Saving and loading separators: one safetensors file whose JSON header holds the separator's configuration.

Loading executes no code from the file: it builds a registered class from plain arguments, with memory bounded by the
size of the file, and copies the tensors into it.
"""

from torchsep.checkpoint.container import FORMAT_VERSION
from torchsep.checkpoint.files import load, read_header, save
from torchsep.checkpoint.locations import released

__all__ = ["FORMAT_VERSION", "load", "read_header", "released", "save"]
