"""The ``torchsep`` command: parsing and printing only."""

from torchsep.cli.main import main

__all__ = ["main"]
