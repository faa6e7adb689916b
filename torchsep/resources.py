"""Locations of the configurations, checkpoints and tables shipped with the library."""

from pathlib import Path

__all__ = ["resource_folder"]


def resource_folder(name: str) -> Path:
    """Path of the folder ``configs``, ``checkpoints`` or ``docs``, in the package or the source tree.

    Example:
        >>> (resource_folder("configs") / "config.yaml").is_file()
        True
    """
    package = Path(__file__).resolve().parent
    for folder in (package / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"{package / name} is missing: the installation is incomplete; install torchsep again")
