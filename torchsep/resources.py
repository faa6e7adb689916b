"""Where the configs and checkpoints that come with the library lie."""

from pathlib import Path

__all__ = ["resource_folder"]


def resource_folder(name: str) -> Path:
    """The folder ``configs`` or ``checkpoints``: inside an installed package, else beside the package in the sources.

    Example:
        >>> (resource_folder("configs") / "config.yaml").is_file()
        True
    """
    package = Path(__file__).resolve().parent
    for folder in (package / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"{package / name} is missing: the installation is incomplete; install torchsep again")
