"""Example separators, writers of checkpoint files, and an assertion for refused files."""

import hashlib
import json
import struct
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors.torch import save as to_bytes
from scenes import noise

from torchsep.checkpoint import FORMAT_VERSION, load
from torchsep.separators import Interval, Separator


class Scales(Separator):
    """A separator with a parameter, an integer buffer and a trainable hyper-parameter."""

    trainable_parameters: ClassVar = {"gain": Interval(0.0)}

    def __init__(self, sizes=(3, 2), gain=1.0, *, sample_rate, trainable=()):
        super().__init__(sample_rate=sample_rate, trainable=trainable)
        self.sizes = sizes
        self.gain = gain
        self.weight = torch.nn.Parameter(torch.zeros(*sizes))
        self.register_buffer("steps", torch.tensor(0))

    def separate(self, mixture, **required):
        return (mixture * self.weight.sum() * self.gain)[:, None]


class Layers(Separator):
    """A separator with many small modules, and constants that are not part of its state."""

    def __init__(self, num_layers=2, num_constants=4, *, sample_rate):
        super().__init__(sample_rate=sample_rate)
        self.num_layers = num_layers
        self.num_constants = num_constants
        self.layers = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(num_layers))
        self.constant = torch.arange(num_constants, dtype=torch.float64).cos().outer(torch.ones(8, dtype=torch.float64))
        self.first = int(self.constant[0].sum().item())  # impossible on the meta device
        self.named = torch.ones(3)[torch.tensor([True, False, True])]

    def separate(self, mixture, **required):
        return mixture[:, None]


class Broken(Separator):
    """A separator whose constructor raises the named exception."""

    def __init__(self, error="KeyError", *, sample_rate):
        super().__init__(sample_rate=sample_rate)
        kinds = {"KeyError": KeyError, "FileNotFoundError": FileNotFoundError, "MemoryError": MemoryError}
        raise kinds[error]("two\nlines")

    def separate(self, mixture, **required):
        raise NotImplementedError


EXAMPLES = {"scales": Scales, "layers": Layers, "broken": Broken}
DEEP = json.loads("[" * 400 + "]" * 400)  # nested lists


def trained():
    """A separator whose parameters and buffer differ from their initial values."""
    separator = Scales((3, 2), 0.5, sample_rate=8000, trainable=("gain",))
    with torch.no_grad():
        separator.weight += noise(3, 2).float()
        separator.free_gain += 0.25
        separator.steps += 7
    return separator


def with_tensors(**changes):
    """The state of :func:`trained` with tensors replaced, or removed if None."""
    tensors = {**trained().state_dict(), **changes}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def checksum(tensors):
    """The checksum in the header, from its definition."""
    dtypes = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        shape = ", ".join(map(str, tensor.shape))
        digest.update(f'["{name}", "{dtypes[tensor.dtype]}", [{shape}]]'.encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write_checkpoint(path, tensors=None, **changes):
    """Write a checkpoint with header entries replaced, or removed if None."""
    separator = trained()
    tensors = dict(separator.state_dict()) if tensors is None else tensors
    header = {
        "format_version": FORMAT_VERSION,
        "config": separator.config,
        "names": list(separator.names),
        "sample_rate": separator.sample_rate,
        "sha256": checksum(tensors),
        "about": {},
        **changes,
    }
    header = {key: value for key, value in header.items() if value is not None}
    path.write_bytes(to_bytes(tensors, metadata={"torchsep": json.dumps(header)}))
    return path


def write_raw(path, header, data):
    """Write a safetensors file with any header and data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


class TouchesFile:
    """An object whose unpickling creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def assert_refused(path, message):
    """Check that loading raises a ValueError with one short line that begins with the path, and return the line."""
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    text = str(caught.value)
    assert type(caught.value) is ValueError
    assert text.startswith(f"{path} ")
    assert "\n" not in text
    assert len(text) < len(str(path)) + 600
    return text
