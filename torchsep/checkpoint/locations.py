"""Resolving a checkpoint's path, name or Hugging Face hub location to a file."""

import os
import re
from pathlib import Path

from torchsep.resources import resource_folder

__all__ = ["FILE_NAME", "find", "released"]

FILE_NAME = "model.safetensors"

_HUB = "hub:"
_ON_HUB = re.compile(r"(?P<repository>\w[\w.-]{0,95}/\w[\w.-]{0,95})(@(?P<revision>\w[\w./-]{0,254}))?", re.ASCII)


def find(source: str | os.PathLike[str]) -> Path:
    """Path of the checkpoint file for a path, a folder, the name of a shipped checkpoint, or ``hub:user/name``.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if the hub location is malformed.
        ImportError: if ``source`` is on the hub and ``huggingface_hub`` is not installed.
        OSError: if the download fails.
    """
    if isinstance(source, str) and source.startswith(_HUB):
        return _fetched(source)
    path = Path(source)
    try:
        path = path / FILE_NAME if path.is_dir() else path
        if path.is_file():
            return path
    except OSError as error:  # for example, a name too long for a file
        raise FileNotFoundError(f"{str(source)[:200]} is not a valid path: {error.strerror}") from None
    shipped = resource_folder("checkpoints")
    if path.name == str(source) and (shipped / path.name / FILE_NAME).is_file():
        return shipped / path.name / FILE_NAME
    names = released()
    known = f"; the names that come with torchsep are {', '.join(names)}" if names else ""
    raise FileNotFoundError(f"{source} is neither a checkpoint file nor a folder with {FILE_NAME}{known}")


def released() -> list[str]:
    """Names of the checkpoints shipped with the library, in alphabetical order."""
    return sorted(file.parent.name for file in resource_folder("checkpoints").glob(f"*/{FILE_NAME}"))


def _fetched(source: str) -> Path:
    """The checkpoint file of a repository on the hub, downloaded or from the cache."""
    location = _ON_HUB.fullmatch(source.removeprefix(_HUB))
    if location is None or ".." in source:
        raise ValueError(f"source must be hub:user/name or hub:user/name@revision, got {source[:200]!r}")
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError:
        message = "huggingface_hub must be installed for the hub: pip install 'torchsep[hub]'"
        raise ImportError(message) from None
    try:
        file = huggingface_hub.hf_hub_download(location["repository"], FILE_NAME, revision=location["revision"])
    except errors.LocalEntryNotFoundError:
        message = f"{source} cannot be fetched without the network, and is not in the cache"
        raise FileNotFoundError(message) from None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        raise FileNotFoundError(f"{source} is not on the hub, or is not open to you") from None
    except errors.EntryNotFoundError:
        raise FileNotFoundError(f"{source} holds no {FILE_NAME}") from None
    except errors.HFValidationError as error:
        raise ValueError(f"source must be hub:user/name or hub:user/name@revision: {error}") from None
    except Exception as error:  # noqa: BLE001 - depends on the HTTP library used
        raise OSError(f"{source} cannot be fetched: {' '.join(str(error).split())[:300]}") from None
    return Path(file)
