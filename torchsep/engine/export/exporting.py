"""Export of a model for release: weights, configuration, model card and network graph, in one folder."""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from torchsep.checkpoint import load, read_header, save
from torchsep.checkpoint.construction import construct, fill
from torchsep.configurable import registry_name
from torchsep.engine.export.graphs import to_onnx, to_program
from torchsep.engine.export.model_card import model_card
from torchsep.networks import Network
from torchsep.separators import Separator

__all__ = ["ExportOptions", "export_model"]

MODEL, CONFIG, CARD, ONNX, PROGRAM = "model.safetensors", "config.json", "README.md", "network.onnx", "network.pt2"
_OURS = {MODEL, CONFIG, CARD, ONNX, f"{ONNX}.data", PROGRAM}

_PREFIX = "separator."


@dataclass(frozen=True)
class ExportOptions:
    """What is written.

    Args:
        half: whether the weights are stored in half precision; they are loaded in single precision.
        onnx: whether to also write the network as ONNX.
        program: whether to also write it as a program of ``torch.export``.
        overwrite: whether an existing export in the folder may be replaced.
    """

    half: bool = False
    onnx: bool = False
    program: bool = False
    overwrite: bool = False


def export_model(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    options: ExportOptions | None = None,
    about: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write a model for release to a folder; returns the files.

    They are ``model.safetensors`` for :func:`torchsep.load`, ``config.json``, the model card ``README.md`` and, if
    requested, ``network.onnx`` and ``network.pt2``. The folder is created atomically.

    Args:
        source: anything that :func:`torchsep.load` takes, or a ``.ckpt`` of a training run, of which the averaged
            weights are used if there are any.
        folder: a new or empty folder, or an existing export that may be overwritten.
        options: what to write; only the model if None.
        about: metadata, see :func:`torchsep.save`, merged into that of the source.

    Raises:
        FileNotFoundError: if the source does not exist.
        ValueError: if it is not a checkpoint, the folder has other files, or there is no network to write.
        ImportError: if a package for ONNX is not installed.
    """
    options = options or ExportOptions()
    folder = Path(folder).absolute()
    _check_folder(folder, overwrite=options.overwrite)
    separator, known = _separator_and_about(source)
    with _atomic_folder(folder) as place:
        path = save(separator, place / MODEL, _merged(known, about or {}), torch.float16 if options.half else None)
        released = load(path)
        if options.onnx:
            to_onnx(_network(released), place / ONNX)
        if options.program:
            torch.export.save(to_program(_network(released)), place / PROGRAM)
        header = read_header(path)
        (place / CONFIG).write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")
        (place / CARD).write_text(model_card(folder.name, header, released, path), encoding="utf-8")
    return sorted(folder.iterdir())


def _separator_and_about(source: str | os.PathLike[str]) -> tuple[Separator, dict[str, Any]]:
    """The separator of a released checkpoint or of a training run, and its metadata."""
    if not str(source).endswith(".ckpt"):
        separator = load(source)
        return separator, read_header(source)["about"]
    path = Path(source)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is not there") from None
    except Exception as error:  # noqa: BLE001 - a damaged file can raise anything
        reason = re.sub(r"\s+", " ", str(error))[:200]
        raise ValueError(f"{path} is not a checkpoint of a training run, or is damaged: {reason}") from None
    entry = content.get("torchsep") if isinstance(content, dict) else None
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict) or "state_dict" not in content:
        raise ValueError(f"{path} is not a checkpoint of `torchsep train`: it has no configuration")
    # Lightning stores the averaged weights as state_dict; before the first average they are undefined.
    is_averaged = content.get("averaging_state", {}).get("n_averaged", 1) > 0
    state = content["state_dict"] if is_averaged else content["current_model_state"]
    tensors = {name.removeprefix(_PREFIX): tensor for name, tensor in state.items() if name.startswith(_PREFIX)}
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    separator = construct(entry["config"], shapes, path.stat().st_size, path)
    about = entry.get("about") or {"training": {"steps": content.get("global_step")}}
    return fill(separator, tensors, path).eval(), about


def _network(separator: Separator) -> Network:
    """The one network of a separator."""
    found = list(_outermost_networks(separator))
    if len(found) != 1:
        name = registry_name(type(separator))
        raise ValueError(f"onnx and program need a separator with one network, got {name} with {len(found)}")
    return found[0]


def _outermost_networks(module: nn.Module) -> Iterator[Network]:
    for child in module.children():
        if isinstance(child, Network):
            yield child
        else:
            yield from _outermost_networks(child)


def _merged(known: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Both, merged two levels deep; the second takes precedence."""
    both = {**known, **more}
    for field in known.keys() & more.keys():
        if isinstance(known[field], Mapping) and isinstance(more[field], Mapping):
            both[field] = {**known[field], **more[field]}
    return both


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    """Raise unless the folder may be written: files other than those of an export are never replaced."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"folder must be new or empty, got the file {folder}")
    existing = {path.name for path in folder.iterdir()}
    if existing and not overwrite:
        raise ValueError(f"folder must be new or empty unless it may be overwritten, {folder} has {min(existing)}")
    if existing - _OURS:
        raise ValueError(
            f"folder must have only files of an export to be overwritten, {folder} has {min(existing - _OURS)}"
        )


@contextmanager
def _atomic_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that is renamed on success and deleted on failure."""
    fresh, stale = (folder.with_name(f".{folder.name}.{os.getpid()}.{kind}") for kind in ("tmp", "old"))
    fresh.mkdir(parents=True)
    try:
        yield fresh
        if folder.exists():
            folder.rename(stale)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if stale.exists() and not folder.exists():
            stale.rename(folder)
        shutil.rmtree(stale, ignore_errors=True)
