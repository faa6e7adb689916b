"""Differentiable source separation in PyTorch: classical algorithms and deep models as one kind of module."""

import importlib
from types import ModuleType

from torchsep import functional, losses, metrics, networks, separators, transforms
from torchsep.checkpoint import load, save
from torchsep.registry import build, list_separators, register
from torchsep.separators import BackgroundSeparator, ClusteringSeparator, MaskSeparator, Separator
from torchsep.transforms import STFT

__version__ = "0.2.0"

__all__ = [
    "STFT",
    "BackgroundSeparator",
    "ClusteringSeparator",
    "MaskSeparator",
    "Separator",
    "build",
    "functional",
    "list_separators",
    "load",
    "losses",
    "metrics",
    "networks",
    "register",
    "save",
    "separators",
    "transforms",
]

# Rooms with heavier dependencies, imported when first used.
_LAZY = ("audio", "data", "engine")


def __getattr__(name: str) -> ModuleType:
    if name in _LAZY:
        return importlib.import_module(f"torchsep.{name}")
    raise AttributeError(f"module 'torchsep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_LAZY])
