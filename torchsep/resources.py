"""Locations of the configurations and checkpoints shipped with the library."""

from pathlib import Path

__all__ = ["resource_folder"]


def resource_folder(name: str) -> Path:
    """Path of the folder ``configs`` or ``checkpoints``, in the installed package or beside it in the source tree.

    Example:
        >>> (resource_folder("configs") / "config.yaml").is_file()
        True
    """
    package = Path(__file__).resolve().parent
    for folder in (package / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"{package / name} is missing: the installation is incomplete; install torchsep again")
