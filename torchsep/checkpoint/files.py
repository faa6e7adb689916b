"""Saving and loading separators."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from torch import Tensor

import torchsep.registry
from torchsep.checkpoint.about import check_about
from torchsep.checkpoint.construction import check_integers, construct, fill
from torchsep.checkpoint.container import FORMAT_VERSION, Container, to_bytes
from torchsep.checkpoint.locations import find
from torchsep.separators import Separator
from torchsep.separators.bases.source_names import check_source_names

__all__ = ["load", "read_header", "save"]

_HALVES = (torch.float16, torch.bfloat16)


def save(
    separator: Separator,
    path: str | os.PathLike[str],
    about: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> Path:
    """Save a separator, its arguments and its parameters, to one file.

    Args:
        separator: instance of a registered class.
        path: path of the file; ``.safetensors`` is appended if missing.
        about: JSON-serialisable metadata. Standard fields, shown on the model card, are ``summary``, a sentence;
            ``training``, a mapping that describes the training; ``metrics``, a list of mappings with ``name``,
            ``value`` and ``definition``, optionally ``unit`` and ``data``; ``licences``, a mapping from ``weights``
            and each data set to its licence; ``references``, a list of strings.
        dtype: ``torch.float16`` or ``torch.bfloat16`` to store weights in half precision; they are loaded in single
            precision. Vectors and scalars, such as biases, norms and hyper-parameters, keep their precision. If
            None, everything is stored unchanged.

    Returns:
        The path of the file, which is written atomically.

    Raises:
        ValueError: if the class is not registered, the source names cannot name files, ``about`` is not
            JSON-serialisable, or a value is not finite or too large for ``dtype``.

    Example:
        >>> import tempfile
        >>> from torchsep.separators import HPSS
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = save(HPSS(kernel_size=17, sample_rate=8000), f"{folder}/tones")
        ...     load(path).kernel_size
        17
    """
    config = separator.config
    if torchsep.registry.separator_class(config["name"]) is not type(separator):
        raise ValueError(f"separator must be of a registered class, got {type(separator).__qualname__}")
    if dtype not in {None, *_HALVES}:
        raise ValueError(f"dtype must be one of {', '.join(map(str, _HALVES))} or None, got {dtype!r}")
    check_integers(config)
    _check_names(separator)
    header = {
        "format_version": FORMAT_VERSION,
        "config": config,
        "names": list(separator.names),
        "sample_rate": separator.sample_rate,
        "about": check_about(about),
    }
    tensors = {name: _stored(name, tensor, dtype) for name, tensor in separator.state_dict().items()}
    try:
        blob = to_bytes(tensors, header)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"about and arguments must be plain values that JSON can hold: {error}") from None
    path = Path(path)
    path = path if path.suffix == ".safetensors" else path.with_name(path.name + ".safetensors")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(blob)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


Kind = TypeVar("Kind", bound=Separator)


@overload
def load(source: str | os.PathLike[str]) -> Separator: ...


@overload
def load(source: str | os.PathLike[str], expected: type[Kind]) -> Kind: ...


def load(source: str | os.PathLike[str], expected: type[Separator] = Separator) -> Separator:
    """Load a separator from a checkpoint, in evaluation mode and single precision.

    No code from the file is executed, and memory is bounded by the size of the file.

    Args:
        source: a file written by :func:`save`, a folder that contains one as ``model.safetensors``, the name of a
            checkpoint shipped with the library, or ``hub:user/name`` or ``hub:user/name@revision`` for one on the
            Hugging Face hub (``pip install 'torchsep[hub]'``), which is cached for offline use.
        expected: required class of the separator.

    Raises:
        FileNotFoundError: if there is no such file, folder or name.
        ValueError: if the file is damaged, is not a checkpoint, does not match the class in its header, is not of the
            expected class, or has source names that cannot name files.
    """
    with Container(find(source)) as container:
        header = container.header
        separator = construct(header["config"], container.shapes, container.num_bytes, container.path)
        declared = (header.get("names"), header.get("sample_rate"))
        if declared != (list(separator.names), separator.sample_rate):
            raise ValueError(f"{container.path} contradicts itself: its names or sample rate are not what it builds")
        _check_names(separator, f"{container.path}: ")
        fill(separator, container.tensors(), container.path)
    if not isinstance(separator, expected):
        got = type(separator).__name__
        raise ValueError(f"source must be a checkpoint of {expected.__name__}, got one of {got}: {source}")
    return separator.eval()


def read_header(source: str | os.PathLike[str]) -> dict[str, Any]:
    """The metadata of a checkpoint: config, source names, sample rate, checksum, and ``about`` of :func:`save`."""
    with Container(find(source)) as container:
        container.tensors()
        return container.header


def _check_names(separator: Separator, origin: str = "") -> None:
    """Raise, with the origin in front, unless the names of the sources can name files."""
    try:
        check_source_names(separator.names)
    except ValueError as error:
        raise ValueError(f"{origin}{error}") from None


def _stored(name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """A copy of a tensor on the CPU in the dtype of the file."""
    if not tensor.isfinite().all():
        raise ValueError(f"separator must have finite values, got NaN or infinite ones in {name}")
    if dtype is None or tensor.dim() < 2 or not tensor.is_floating_point():
        return tensor.detach().to("cpu", copy=True).contiguous()
    stored = tensor.detach().to("cpu", dtype, copy=True).contiguous()
    if not stored.isfinite().all():
        largest = tensor.abs().max().item()
        raise ValueError(f"dtype must hold all weights, got {dtype} for {largest:.4g} in {name}")
    return stored
