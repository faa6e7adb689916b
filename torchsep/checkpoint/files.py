"""Writing separators and reading them."""

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

__all__ = ["load", "read_header", "save"]

_HALVES = (torch.float16, torch.bfloat16)


def save(
    separator: Separator,
    path: str | os.PathLike[str],
    about: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write a separator, its arguments and its parameters, to one file.

    Args:
        separator: of a registered class.
        path: of the file; ``.safetensors`` is appended unless it is there.
        about: anything that JSON can hold, to travel with it. Fields that are known, and shown on a model's card:
            ``summary``, a sentence; ``training``, a mapping of what it was trained on, for how long and how;
            ``metrics``, a list of mappings with ``name``, ``value`` and ``definition``, which may have ``unit`` and
            ``data`` too; ``licences``, a mapping with that of the ``weights`` and of each set of data;
            ``references``, a list of texts.
        dtype: ``torch.float16`` or ``torch.bfloat16`` for weights of half the size: single precision comes back, of
            fewer digits. Vectors and scalars, as biases, norms and hyper-parameters are, keep theirs, as they take
            next to no place. Everything as it is if None.

    Returns:
        The path written. It appears whole or not at all.

    Raises:
        ValueError: if the class is not registered, ``about`` is not plain, a value is not finite or too large for
            ``dtype``.

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
    """The separator of a checkpoint, in evaluation mode and in single precision.

    Nothing of the file is run, and it is refused before more memory is used than its size justifies.

    Args:
        source: a file that :func:`save` wrote, a folder that holds one as ``model.safetensors``, the name of a
            checkpoint that comes with the library, or ``hub:user/name`` or ``hub:user/name@revision`` for one on the
            Hugging Face hub (``pip install 'torchsep[hub]'``), of which a copy is kept and serves without the network.
        expected: class that the separator must be an instance of.

    Raises:
        FileNotFoundError: if there is no such file, folder or name.
        ValueError: if the file is damaged, not a checkpoint, does not fit the class that it names, or is of another
            class than expected.
    """
    with Container(find(source)) as container:
        header = container.header
        separator = construct(header["config"], container.shapes, container.num_bytes, container.path)
        told = (header.get("names"), header.get("sample_rate"))
        if told != (list(separator.names), separator.sample_rate):
            raise ValueError(f"{container.path} contradicts itself: its names or sample rate are not what it builds")
        fill(separator, container.tensors(), container.path)
    if not isinstance(separator, expected):
        got = type(separator).__name__
        raise ValueError(f"source must be a checkpoint of {expected.__name__}, got one of {got}: {source}")
    return separator.eval()


def read_header(source: str | os.PathLike[str]) -> dict[str, Any]:
    """What a checkpoint says of itself: config, source names, sample rate, checksum, and what ``save`` was told."""
    with Container(find(source)) as container:
        container.tensors()
        return container.header


def _stored(name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """A copy of a tensor as the file holds it."""
    if not tensor.isfinite().all():
        raise ValueError(f"separator must have finite values, got NaN or infinite ones in {name}")
    if dtype is None or tensor.dim() < 2 or not tensor.is_floating_point():
        return tensor.detach().to("cpu", copy=True).contiguous()
    stored = tensor.detach().to("cpu", dtype, copy=True).contiguous()
    if not stored.isfinite().all():
        largest = tensor.abs().max().item()
        raise ValueError(f"dtype must hold all weights, got {dtype} for {largest:.4g} in {name}")
    return stored
