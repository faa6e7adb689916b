"""Differentiable source separation in PyTorch: classical algorithms and deep models as one kind of module."""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

# Everything is imported when first used, so that the command starts without torch.
_ORIGINS = {
    "STFT": "transforms",
    "BackgroundSeparator": "separators",
    "ClusteringSeparator": "separators",
    "MaskSeparator": "separators",
    "Separator": "separators",
    "build": "registry",
    "list_separators": "registry",
    "load": "checkpoint",
    "register": "registry",
    "save": "checkpoint",
}
_MODULES = ("audio", "data", "engine")


def __getattr__(name: str) -> Any:
    if name in _ORIGINS:
        value = getattr(importlib.import_module(f"torchsep.{_ORIGINS[name]}"), name)
        globals()[name] = value
        return value
    if not name.startswith("_") and importlib.util.find_spec(f"torchsep.{name}"):
        return importlib.import_module(f"torchsep.{name}")
    raise AttributeError(f"module 'torchsep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
