"""Separators on disk: one safetensors file whose header says in JSON how to build what the tensors belong to.

Loading executes nothing from the file: it builds a registered class from plain arguments, in memory that the file's
size justifies, and copies tensors into it.
"""

from torchsep.checkpoint.container import FORMAT_VERSION
from torchsep.checkpoint.files import load, read_header, save
from torchsep.checkpoint.locations import released

__all__ = ["FORMAT_VERSION", "load", "read_header", "released", "save"]
