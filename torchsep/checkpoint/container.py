"""The bytes of a checkpoint: a safetensors file, read only as far as it makes sense."""

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

# Some thousands of tensors, and a training summary as long as a book; what is longer could only fill the memory.
_LONGEST_HEADER = 4 * 2**20

_DEEPEST_NESTING = 32

_KEY = "torchsep"


def to_bytes(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> bytes:
    """A file that holds tensors and, as JSON, a header to which the tensors' checksum is added.

    Raises:
        ValueError: if the header is longer or deeper than what is read.
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
    """What a JSON text says, if every key is there once, every number is finite and it is not nested deeply.

    Raises:
        ValueError: if not.

    Example:
        >>> plain_json('{"power": 1, "power": 2}')
        Traceback (most recent call last):
        ...
        ValueError: key 'power' is there twice
    """
    try:
        value = json.loads(text, object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _check_depth(value)
    return value


class Container:
    """An open checkpoint, of which the header is read and what it says is checked; the tensors follow on demand.

    Args:
        path: of the file.

    Raises:
        ValueError: if it is not a safetensors file, is damaged, or holds no header of this library's.
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
        """The shapes of the tensors, as declared."""
        return {name: torch.Size(entry["shape"]) for name, entry in self._entries.items()}

    def tensors(self) -> dict[str, Tensor]:
        """The tensors, which match their checksum."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        # Not mapped into memory: a file that is cut while it is read must give an error, not a signal.
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
            raise self._damaged("it is shorter than it says")
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
        """Of the tensors."""
        if end != self.num_bytes:
            raise self._damaged("it is not as long as it says")
        self._head = start + head
        self._entries: dict[str, Any] = content
        self.header = self._own_header(metadata)
        """What was saved beside the tensors."""

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
    """SHA-256 over name, type, shape and bytes of every tensor by name: not over the format's own choice of order."""
    digest = hashlib.sha256()
    for name in sorted(name for name in entries if name != "__metadata__"):
        entry = entries[name]
        first, last = entry["data_offsets"]
        digest.update(json.dumps([name, entry["dtype"], entry["shape"]]).encode())
        digest.update(data[first:last])
    return digest.hexdigest()


def _declared_end(entry: Any) -> int:
    """Where a tensor says that it ends, its shape and place being whole numbers."""
    if set(entry) != {"dtype", "shape", "data_offsets"} or len(entry["data_offsets"]) != 2:
        raise ValueError("a tensor must have a dtype, a shape and data_offsets, got others")
    numbers = (*entry["shape"], *entry["data_offsets"])
    if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
        raise ValueError("shapes and offsets must be whole numbers, got others")
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
            raise ValueError(f"key {key[:80]!r} is there twice")
        found[key] = value
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")
