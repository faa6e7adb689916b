"""Separators on disk: one safetensors file whose header says in JSON how to build what the tensors belong to.

Loading executes nothing from the file: it builds a registered class from plain arguments and copies tensors into it.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

import torchsep.registry
from torchsep.resources import resource_folder
from torchsep.separators import Separator

__all__ = ["FORMAT_VERSION", "load", "read_header", "save"]

FORMAT_VERSION = 1

_FILE_NAME = "model.safetensors"


def save(separator: Separator, path: str | os.PathLike[str], about: Mapping[str, Any] | None = None) -> Path:
    """Write a separator, its arguments and its parameters, to one file.

    Args:
        separator: of a registered class.
        path: of the file; ``.safetensors`` is appended unless it is there.
        about: anything that JSON can hold, to travel with it: what it was trained on, what it reaches, licences.

    Returns:
        The path written. It appears whole or not at all.

    Raises:
        ValueError: if the class is not registered, or ``about`` is not plain.

    Example:
        >>> import tempfile
        >>> from torchsep.separators import HPSS
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = save(HPSS(kernel_size=17, sample_rate=8000), f"{folder}/tones")
        ...     load(path).kernel_size
        17
    """
    from safetensors.torch import save as to_bytes

    config = separator.config
    if torchsep.registry.separator_class(config["name"]) is not type(separator):
        raise ValueError(f"separator must be of a registered class, got {type(separator).__qualname__}")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in separator.state_dict().items()}
    header = {
        "format_version": FORMAT_VERSION,
        "config": config,
        "names": list(separator.names),
        "sample_rate": separator.sample_rate,
        "sha256": hashlib.sha256(to_bytes(tensors)).hexdigest(),
        "about": dict(about or {}),
    }
    try:
        text = json.dumps(header, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"about and arguments must be plain values that JSON can hold: {error}") from None
    path = Path(path)
    path = path if path.suffix == ".safetensors" else path.with_name(path.name + ".safetensors")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(to_bytes(tensors, metadata={"torchsep": text}))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def load(source: str | os.PathLike[str]) -> Separator:
    """The separator of a checkpoint, in evaluation mode.

    Args:
        source: a file that :func:`save` wrote, a folder that holds one as ``model.safetensors``, or the name of a
            checkpoint that comes with the library.

    Raises:
        FileNotFoundError: if there is no such file, folder or name.
        ValueError: if the file is damaged, not a checkpoint, or does not fit the class that it names.
    """
    path = _find(source)
    header, tensors = _read(path)
    config = header["config"]
    separator = torchsep.registry.build(config)
    expected = {name: tensor.shape for name, tensor in separator.state_dict().items()}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if found != expected:
        wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        raise ValueError(f"{path} does not fit {config['name']}: {', '.join(wrong)} missing, unknown or misshapen")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{path} holds NaN or infinite values in {name}")
    separator.load_state_dict(tensors, strict=True)
    return separator.eval()


def read_header(source: str | os.PathLike[str]) -> dict[str, Any]:
    """What a checkpoint says of itself: config, source names, sample rate, checksum, and what ``save`` was told."""
    return _read(_find(source))[0]


def _find(source: str | os.PathLike[str]) -> Path:
    """The file meant by a path, a folder or the name of a checkpoint that comes with the library."""
    path = Path(source)
    if path.is_dir():
        path = path / _FILE_NAME
    if path.is_file():
        return path
    shipped = resource_folder("checkpoints")
    if path.name == str(source) and (shipped / path.name / _FILE_NAME).is_file():
        return shipped / path.name / _FILE_NAME
    names = sorted(file.parent.name for file in shipped.glob(f"*/{_FILE_NAME}"))
    known = f"; the names that come with torchsep are {', '.join(names)}" if names else ""
    raise FileNotFoundError(f"{source} is neither a checkpoint file nor a folder with {_FILE_NAME}{known}")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a file, checked against one another."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save as to_bytes

    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("torchsep")
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is not a safetensors file, or is damaged: {error}") from None
    try:
        header = json.loads(text or "")
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or not isinstance(header.get("config"), dict):
        raise ValueError(f"{path} is not a torchsep checkpoint: its header does not say what to build")
    if header.get("format_version") != FORMAT_VERSION:
        version = header.get("format_version")
        raise ValueError(f"{path} has format version {version!r}, this torchsep reads {FORMAT_VERSION}; update it")
    if header.get("sha256") != hashlib.sha256(to_bytes(tensors)).hexdigest():
        raise ValueError(f"{path} is damaged: its tensors do not match their checksum")
    return header, tensors
