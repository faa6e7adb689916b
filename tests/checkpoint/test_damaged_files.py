"""Files that are not safetensors, or damaged, are refused."""

import json
import os
import pickle
import struct

import pytest
import torch
from checkpoint.examples import Scales, TouchesFile, assert_refused, trained, write_checkpoint, write_raw

from torchsep import registry
from torchsep.checkpoint import read_header, save


@pytest.mark.parametrize(
    "write", [lambda item, path: path.write_bytes(pickle.dumps(item)), torch.save], ids=["pickle", "torch"]
)
def test_pickle_is_refused_and_not_executed(write, tmp_path):
    created, path = tmp_path / "created", tmp_path / "one.safetensors"
    write(TouchesFile(created), path)
    assert_refused(path, r"one\.safetensors is not a safetensors file, or is damaged")
    with pytest.raises(ValueError, match="is not a safetensors file"):
        read_header(path)
    assert not created.exists()


def test_unpickling_the_example_executes_code(tmp_path):
    created = tmp_path / "created"
    pickle.loads(pickle.dumps(TouchesFile(created)))  # noqa: S301
    assert created.exists()


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 100, -1, -20])
def test_truncated_file_is_refused(keep, tmp_path):
    path = save(trained(), tmp_path / "one")
    path.write_bytes(path.read_bytes()[:keep])
    assert_refused(path, "is not a safetensors file, or is damaged")


def test_trailing_bytes_are_refused(tmp_path):
    path = save(trained(), tmp_path / "one")
    path.write_bytes(path.read_bytes() + b"\0")
    assert_refused(path, "is not a safetensors file, or is damaged")


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 2**31, 100_000_001, 0])
def test_wrong_header_length_is_refused(length, tmp_path):
    path = save(trained(), tmp_path / "one")
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    assert_refused(path, "is not a safetensors file, or is damaged")


def test_huge_header_is_not_read(tmp_path):
    path = tmp_path / "one"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 2**34))
        file.truncate(2**34 + 8)  # a sparse file
    assert_refused(path, r"is damaged: its header takes 17179869184 bytes, more than 4194304$")


TENSOR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"3",
        b"\xff\xfe{}",
        b"{} {}",
        b'{"a": 1, "a": 2}',
        b"{%s, %s}" % ((b'"weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}',) * 2),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        {"weight": None},
        {"weight": []},
        {"weight": {}},
        {"weight": {**TENSOR, "more": 1}},
        {"weight": {**TENSOR, "shape": None}},
        {"weight": {**TENSOR, "shape": [-1]}},
        {"weight": {**TENSOR, "shape": [1.0]}},
        {"weight": {**TENSOR, "shape": [True]}},
        {"weight": {**TENSOR, "shape": [2**70]}},
        {"weight": {**TENSOR, "data_offsets": [0]}},
        {"weight": {**TENSOR, "data_offsets": [0, 10**12]}},
        {"weight": {**TENSOR, "data_offsets": ["0", "4"]}},
        {"__metadata__": [], "weight": {**TENSOR, "data_offsets": [0, 3]}},
    ],
    ids=lambda header: str(header)[:50],
)
def test_malformed_headers_are_refused(header, tmp_path):
    assert_refused(write_raw(tmp_path / "one", header, bytes(4)), "is not a safetensors file, or is damaged")


@pytest.mark.parametrize(
    ("weight", "steps"),
    [
        ({"shape": [2]}, {}),
        ({"shape": [2**32, 2**32]}, {}),
        ({"data_offsets": [0, 8]}, {}),
        ({"data_offsets": [4, 0]}, {}),
        ({"dtype": "F33"}, {}),
        ({"dtype": "F64"}, {}),
        ({}, {"data_offsets": [0, 4]}),
        ({}, {"data_offsets": [3, 7]}),
    ],
    ids=str,
)
def test_inconsistent_tensor_entries_are_refused(weight, steps, tmp_path):
    separator = Scales((1,), sample_rate=8000)
    about = {"format_version": 1, "config": separator.config, "names": [], "sample_rate": 8000, "sha256": "0"}
    header = {
        "__metadata__": {"torchsep": json.dumps(about)},
        "weight": {**TENSOR, **weight},
        "steps": {"dtype": "F32", "shape": [], "data_offsets": [4, 8], **steps},
    }
    assert_refused(
        write_raw(tmp_path / "one", header, bytes(8)), "is not a safetensors file, or is damaged|does not fit scales"
    )


def test_file_truncated_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = save(Scales((100, 100), sample_rate=8000), tmp_path / "one")
    original = registry.build

    def build(config):
        os.truncate(path, path.stat().st_size - 4)
        return original(config)

    monkeypatch.setattr(registry, "build", build)
    assert_refused(path, "is damaged: it changes while it is read")


def test_flipped_bits_in_the_weights_are_detected(tmp_path):
    path = save(trained(), tmp_path / "one")
    content = path.read_bytes()
    start = 8 + struct.unpack("<Q", content[:8])[0]
    for position in range(start, len(content), 3):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        assert_refused(path, "is damaged: its tensors do not match their checksum")


def test_wrong_checksum_is_refused(tmp_path):
    for sha256 in ("0" * 64, None):
        path = write_checkpoint(tmp_path / "one", sha256=sha256)
        assert_refused(path, "is damaged: its tensors do not match their checksum")
