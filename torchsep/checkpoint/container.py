"""The checkpoint file format: safetensors with a validated JSON header."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Self

import torch
from torch import Tensor

__all__ = ["FORMAT_VERSION", "Container", "plain_json", "to_bytes"]

FORMAT_VERSION = 1

# Enough for thousands of tensors and a long training summary; bounds memory for malicious files.
_LONGEST_HEADER = 4 * 2**20

_DEEPEST_NESTING = 32

_KEY = "torchsep"


def to_bytes(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> bytes:
    """Serialise tensors and a JSON header, to which the checksum of the tensors is added.

    Raises:
        ValueError: if the header is too long or too deeply nested to be read back.
    """
    from safetensors.torch import save

    plain = save(dict(tensors))
    length = int.from_bytes(plain[:8], "little")
    entries = json.loads(plain[8 : 8 + length])
    checksum = _checksum(entries, memoryview(plain)[8 + length :])
    text = json.dumps({**header, "sha256": checksum}, allow_nan=False)
    plain_json(text)
    blob = save(dict(tensors), metadata={_KEY: text})
    if int.from_bytes(blob[:8], "little") > _LONGEST_HEADER:
        raise ValueError(f"about and arguments must take at most {_LONGEST_HEADER} bytes, got {len(text)}")
    return blob


def plain_json(text: str | bytes) -> Any:
    """Parse JSON strictly: keys must be unique, numbers finite and nesting shallow.

    Raises:
        ValueError: if the text violates one of these rules.

    Example:
        >>> plain_json('{"power": 1, "power": 2}')
        Traceback (most recent call last):
        ...
        ValueError: key 'power' is duplicated
    """
    try:
        value = json.loads(text, object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _check_depth(value)
    return value


class Container:
    """An open checkpoint file with a parsed and validated header; tensors are read on demand.

    Args:
        path: path of the file.

    Raises:
        ValueError: if the file is not a safetensors file, is damaged, or has no torchsep header.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = path.open("rb")
        try:
            self._read_header()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def shapes(self) -> dict[str, torch.Size]:
        """Declared tensor shapes by name."""
        return {name: torch.Size(entry["shape"]) for name, entry in self._entries.items()}

    def tensors(self) -> dict[str, Tensor]:
        """The tensors, verified against their checksum."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        # Not memory-mapped: a file truncated during reading must raise an error, not a signal.
        self._file.seek(0)
        blob = self._file.read(len(self._head) + self.num_bytes)
        if len(blob) != len(self._head) + self.num_bytes or not blob.startswith(self._head):
            raise self._damaged("it changes while it is read")
        try:
            tensors: dict[str, Tensor] = load(blob)
        except (SafetensorError, ValueError, KeyError, OverflowError) as error:
            raise self._damaged(error) from None
        if self.header.get("sha256") != _checksum(self._entries, memoryview(blob)[len(self._head) :]):
            raise ValueError(f"{self.path} is damaged: its tensors do not match their checksum")
        return tensors

    def _read_header(self) -> None:
        start = self._file.read(8)
        size = os.fstat(self._file.fileno()).st_size
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > size - 8:
            raise self._damaged("it is shorter than declared")
        if length > _LONGEST_HEADER:
            raise self._damaged(f"its header takes {length} bytes, more than {_LONGEST_HEADER}")
        head = self._file.read(length)
        try:
            content = plain_json(head.decode())
            metadata = content.pop("__metadata__", {})
            end = max((_declared_end(entry) for entry in content.values()), default=0)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._damaged(error) from None
        self.num_bytes = size - 8 - length
        """Total size of the tensors in bytes."""
        if end != self.num_bytes:
            raise self._damaged("its size differs from the declared size")
        self._head = start + head
        self._entries: dict[str, Any] = content
        self.header = self._own_header(metadata)
        """Metadata saved with the tensors."""

    def _own_header(self, metadata: Any) -> dict[str, Any]:
        header, reason = None, ""
        try:
            header = plain_json(metadata[_KEY])
        except ValueError as error:
            reason = f" ({error})"[:200]
        except (TypeError, KeyError):
            pass
        if not isinstance(header, dict) or not isinstance(header.get("config"), dict):
            raise ValueError(f"{self.path} is not a torchsep checkpoint: its header does not say what to build{reason}")
        version = header.get("format_version")
        if version != FORMAT_VERSION or type(version) is not int:
            found = f"{version!r:.40}"
            raise ValueError(f"{self.path} has format version {found}, this torchsep reads {FORMAT_VERSION}; update it")
        return header

    def _damaged(self, reason: object) -> ValueError:
        text = re.sub(r"\s+", " ", str(reason))[:200]
        return ValueError(f"{self.path} is not a safetensors file, or is damaged: {text}")


def _checksum(entries: Mapping[str, Any], data: memoryview) -> str:
    """SHA-256 over name, dtype, shape and bytes of every tensor in name order, independent of the file's order."""
    digest = hashlib.sha256()
    for name in sorted(name for name in entries if name != "__metadata__"):
        entry = entries[name]
        first, last = entry["data_offsets"]
        digest.update(json.dumps([name, entry["dtype"], entry["shape"]]).encode())
        digest.update(data[first:last])
    return digest.hexdigest()


def _declared_end(entry: Any) -> int:
    """End offset of a tensor in the data section, after validating its entry."""
    if set(entry) != {"dtype", "shape", "data_offsets"} or len(entry["data_offsets"]) != 2:
        raise ValueError("tensor entries must have dtype, shape and data_offsets")
    numbers = (*entry["shape"], *entry["data_offsets"])
    if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
        raise ValueError("shapes and offsets must be non-negative integers")
    return int(entry["data_offsets"][1])


def _check_depth(value: Any) -> None:
    layer = [value]
    for _ in range(_DEEPEST_NESTING):
        layer = [
            item
            for outer in layer
            if isinstance(outer, (dict, list))
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not layer:
            return
    raise ValueError("nested too deeply")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key[:80]!r} is duplicated")
        found[key] = value
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a valid JSON number")
