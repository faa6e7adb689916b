"""Checksums of what determines the results of a separator besides its arguments: weights and user-defined code."""

import hashlib
import inspect
from pathlib import Path

import torch

from torchsep.engine.separator_choice import SeparatorChoice
from torchsep.separators import Separator

__all__ = ["fingerprint"]


def fingerprint(choice: SeparatorChoice, separator: Separator) -> dict[str, str]:
    """The SHA-256 of the weights of a separator, and of each source file outside the library that defines a part of it.

    Args:
        choice: of the separator.
        separator: built from it.

    Example:
        >>> choice = SeparatorChoice({"name": "hpss"})
        >>> fingerprint(choice, choice.at(8000))
        {}
    """
    found = {}
    if choice.loaded:
        digest = hashlib.sha256()
        for part in choice.loaded:
            for name, tensor in sorted(part.state_dict().items()):
                digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        found["weights"] = digest.hexdigest()
    kinds = {base for module in separator.modules() for base in type(module).__mro__}
    own = {kind for kind in kinds if kind.__module__.partition(".")[0] not in {"torchsep", "torch", "builtins", "abc"}}
    for file in sorted({file for kind in own if (file := _source_file(kind)) is not None}):
        found[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def _source_file(kind: type) -> Path | None:
    """The source file of a class; None for one that is defined in a notebook or in C."""
    try:
        file = inspect.getsourcefile(kind)
    except TypeError:
        return None
    return Path(file) if file and Path(file).is_file() else None
