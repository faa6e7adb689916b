"""Checkpoints: what comes back, what hostile files do, and what a failed write leaves behind."""

import hashlib
import json
import os
import pickle
import struct
import sys
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors.torch import save as to_bytes
from scenes import noise

import torchsep
from torchsep import registry
from torchsep.checkpoint import FORMAT_VERSION, load, locations, read_header, save
from torchsep.separators import HPSS, HighLowPassFilter, Interval, MixAsEstimate, Repet, Separator
from torchsep.transforms import STFT


class Scales(Separator):
    """A separator with a learned tensor, a count that is none of float, and a hyper-parameter."""

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
    """A separator of many small parts, and a constant that is not part of its state."""

    def __init__(self, num_layers=2, num_constants=4, *, sample_rate):
        super().__init__(sample_rate=sample_rate)
        self.num_layers = num_layers
        self.num_constants = num_constants
        self.layers = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(num_layers))
        self.constant = torch.arange(num_constants, dtype=torch.float64).cos().outer(torch.ones(8, dtype=torch.float64))
        self.first = int(self.constant[0].sum().item())  # what has no data could not tell
        self.named = torch.ones(3)[torch.tensor([True, False, True])]

    def separate(self, mixture, **required):
        return mixture[:, None]


class Broken(Separator):
    """A separator that fails in its own way."""

    def __init__(self, way="KeyError", *, sample_rate):
        super().__init__(sample_rate=sample_rate)
        raise {"KeyError": KeyError, "FileNotFoundError": FileNotFoundError, "MemoryError": MemoryError}[way](
            "of\nmine"
        )

    def separate(self, mixture, **required):
        raise NotImplementedError


OWN = {"scales": Scales, "layers": Layers, "broken": Broken}


@pytest.fixture(autouse=True)
def shipped(tmp_path, monkeypatch):
    """An empty folder in the place of the checkpoints that come with the library, and classes of our own."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr(locations, "resource_folder", lambda name: folder)
    monkeypatch.setattr(registry, "_REGISTERED", {**registry._REGISTERED, **OWN})
    return folder


def trained():
    separator = Scales((3, 2), 0.5, sample_rate=8000, trainable=("gain",))
    with torch.no_grad():
        separator.weight += noise(3, 2).float()
        separator.free_gain += 0.25
        separator.steps += 7
    return separator


def checksum(tensors):
    """What the header says of the tensors, written out."""
    kinds = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        shape = ", ".join(map(str, tensor.shape))
        digest.update(f'["{name}", "{kinds[tensor.dtype]}", [{shape}]]'.encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write(path, tensors=None, *, separator=None, honest=True, **changes):
    """A file like one of ours, with a header changed; ``None`` takes an entry out."""
    separator = trained() if separator is None else separator
    tensors = dict(separator.state_dict()) if tensors is None else tensors
    header = {
        "format_version": FORMAT_VERSION,
        "config": separator.config,
        "names": list(separator.names),
        "sample_rate": separator.sample_rate,
        "sha256": checksum(tensors) if honest else "0" * 64,
        "about": {},
        **changes,
    }
    header = {key: value for key, value in header.items() if value is not None}
    path.write_bytes(to_bytes(tensors, metadata={"torchsep": json.dumps(header)}))
    return path


def raw(path, header, data=b"", length=None):
    """A file of any header and data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def refused(path, message):
    """Loading says why in one line that names the file, and raises nothing else."""
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    text = str(caught.value)
    assert type(caught.value) is ValueError
    assert text.startswith(f"{path} ")
    assert "\n" not in text
    assert len(text) < len(str(path)) + 600
    return text


@pytest.mark.parametrize(
    "separator",
    [
        HPSS((17, 9), margin=(1.5, 2.0), sample_rate=8000, stft=STFT(64, window=("kaiser", 8.0)), trainable=["margin"]),
        HighLowPassFilter(900.0, sample_rate=8000, mask_type="soft", trainable=("cutoff_hz",)),
        MixAsEstimate(3, sample_rate=8000),
        Repet(0.05, period=0.07, sample_rate=8000),
    ],
    ids=lambda separator: type(separator).__name__,
)
def test_a_separator_comes_back(separator, tmp_path):
    separator.train()
    again = load(save(separator, tmp_path / "one"))
    assert type(again) is type(separator)
    assert not again.training
    assert separator.training
    assert again.config == separator.config
    mixture = noise(3, 2, 1500)
    assert torch.equal(again(mixture), separator(mixture))


def test_what_was_learned_comes_back(tmp_path):
    separator = trained()
    again = load(save(separator, tmp_path / "one"))
    assert again.steps == 7
    assert again.steps.dtype == torch.int64
    assert {name: tensor.tolist() for name, tensor in again.state_dict().items()} == {
        name: tensor.tolist() for name, tensor in separator.state_dict().items()
    }
    assert all(parameter.requires_grad for parameter in again.parameters())
    assert again.gain.item() == separator.gain.item() != pytest.approx(0.5)


@pytest.mark.parametrize(
    ("given", "written"),
    [("one", "one.safetensors"), ("one.safetensors", "one.safetensors"), ("v1.2", "v1.2.safetensors")],
)
def test_the_suffix_is_appended(given, written, tmp_path):
    assert save(MixAsEstimate(2, sample_rate=8000), str(tmp_path / given)) == tmp_path / written
    assert (tmp_path / written).is_file()


def test_the_header_says_what_it_is(tmp_path):
    separator = trained()
    path = save(separator, tmp_path / "one", about={"data": ["a", 1], "reached": {"si_sdr": 7.5}})
    header = read_header(path)
    assert header == {
        "format_version": 1,
        "config": json.loads(json.dumps(separator.config)),
        "names": [],
        "sample_rate": 8000,
        "sha256": checksum(separator.state_dict()),
        "about": {"data": ["a", 1], "reached": {"si_sdr": 7.5}},
    }
    assert read_header(save(HPSS(sample_rate=8000), tmp_path / "two"))["names"] == ["harmonic", "percussive"]


def test_the_same_separator_makes_the_same_file(tmp_path):
    first, second = save(trained(), tmp_path / "one"), save(trained(), tmp_path / "two")
    assert first.read_bytes() == second.read_bytes()


def test_a_folder_holds_a_checkpoint(tmp_path):
    save(trained(), tmp_path / "model")
    assert load(tmp_path).steps == 7
    assert load(str(tmp_path)).steps == 7


def test_checkpoints_that_come_with_the_library(shipped, tmp_path):
    for name in ("voice", "drums"):
        (shipped / name).mkdir()
        save(trained(), shipped / name / "model")
    assert load("voice").steps == 7
    assert read_header("drums")["config"]["name"] == "scales"
    assert torchsep.load is load
    with pytest.raises(
        FileNotFoundError, match=r"^voic is neither .*; the names that come with torchsep are drums, voice$"
    ):
        load("voic")
    with pytest.raises(FileNotFoundError, match=r"is neither a checkpoint file nor a folder with model\.safetensors"):
        load(tmp_path / "voice")
    with pytest.raises(FileNotFoundError):
        load("../shipped/voice")


def test_nothing_is_found(tmp_path):
    for missing in ("nothing", tmp_path / "nothing.safetensors", tmp_path / "shipped"):
        with pytest.raises(
            FileNotFoundError, match=r"is neither a checkpoint file nor a folder with model\.safetensors$"
        ):
            load(missing)


def test_a_file_comes_before_a_name(shipped, tmp_path, monkeypatch):
    (shipped / "voice").mkdir()
    save(MixAsEstimate(2, sample_rate=8000), shipped / "voice" / "model")
    work = tmp_path / "work"
    (work / "voice").mkdir(parents=True)
    save(MixAsEstimate(3, sample_rate=8000), work / "voice" / "model")
    monkeypatch.chdir(work)
    assert load("voice").num_sources == 3


class Bomb:
    """What a pickle that runs code looks like."""

    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return Path.touch, (self.victim,)


@pytest.mark.parametrize("writer", [lambda bomb, path: path.write_bytes(pickle.dumps(bomb)), torch.save])
def test_a_pickle_is_refused_and_not_run(writer, tmp_path):
    victim, path = tmp_path / "victim", tmp_path / "one.safetensors"
    writer(Bomb(victim), path)
    refused(path, r"one\.safetensors is not a safetensors file, or is damaged")
    with pytest.raises(ValueError, match="is not a safetensors file"):
        read_header(path)
    assert not victim.exists()
    if writer is not torch.save:  # the bomb is live
        pickle.loads(path.read_bytes())  # noqa: S301
        assert victim.exists()


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 100, -1, -20])
def test_a_file_cut_short_is_refused(keep, tmp_path):
    path = save(trained(), tmp_path / "one")
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    refused(path, "is not a safetensors file, or is damaged")


def test_a_file_with_bytes_too_many_is_refused(tmp_path):
    path = save(trained(), tmp_path / "one")
    path.write_bytes(path.read_bytes() + b"\0")
    refused(path, "is not a safetensors file, or is damaged")


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 2**31, 100_000_001, 0])
def test_a_header_of_any_length_is_refused(length, tmp_path):
    path = save(trained(), tmp_path / "one")
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    refused(path, "is not a safetensors file, or is damaged")


def test_a_header_as_long_as_the_file_is_not_read(tmp_path):
    path = tmp_path / "one"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 2**34))
        file.truncate(2**34 + 8)  # of which nothing takes place on the disk
    refused(path, r"is damaged: its header takes 17179869184 bytes, more than 4194304$")


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
    refused(raw(tmp_path / "one", header, bytes(4)), "is not a safetensors file, or is damaged")


@pytest.mark.parametrize(
    ("weight", "bias"),
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
def test_tensors_that_are_not_where_they_say_are_refused(weight, bias, tmp_path):
    """What is found out when the tensors are read; the class is the right one."""
    separator = Scales((1,), sample_rate=8000)
    about = {"format_version": 1, "config": separator.config, "names": [], "sample_rate": 8000, "sha256": "0"}
    header = {
        "__metadata__": {"torchsep": json.dumps(about)},
        "weight": {**TENSOR, **weight},
        "steps": {"dtype": "F32", "shape": [], "data_offsets": [4, 8], **bias},
    }
    refused(raw(tmp_path / "one", header, bytes(8)), "is not a safetensors file, or is damaged|does not fit scales")


def test_a_file_that_shrinks_while_it_is_read(tmp_path, monkeypatch):
    path = save(Scales((100, 100), sample_rate=8000), tmp_path / "one")
    original = registry.build

    def build(config):
        os.truncate(path, path.stat().st_size - 4)
        return original(config)

    monkeypatch.setattr(registry, "build", build)
    refused(path, "is damaged: it changes while it is read")


def test_what_is_not_a_file(tmp_path):
    (tmp_path / "folder" / "model.safetensors").mkdir(parents=True)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")
    odd = ["folder", "folder/model.safetensors", "loop", "dangling", "pipe", "n" * 300, "nul\0", "/dev/zero"]
    for name in odd:
        with pytest.raises(FileNotFoundError):
            load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        load("hub")


def test_a_symlink_is_followed(tmp_path):
    save(trained(), tmp_path / "one")
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "one.safetensors")
    assert load(tmp_path / "link.safetensors").steps == 7


def test_every_flipped_byte_of_the_weights_is_noticed(tmp_path):
    path = save(trained(), tmp_path / "one")
    whole = path.read_bytes()
    start = 8 + struct.unpack("<Q", whole[:8])[0]
    for position in range(start, len(whole), 3):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        refused(path, "is damaged: its tensors do not match their checksum")


def test_a_wrong_checksum_is_refused(tmp_path):
    refused(write(tmp_path / "one", honest=False), "is damaged: its tensors do not match their checksum")
    refused(write(tmp_path / "one", sha256=None), "is damaged: its tensors do not match their checksum")


@pytest.mark.parametrize("version", [0, 2, "1", None, [1], 1.5])
def test_another_format_version_is_refused(version, tmp_path):
    message = refused(write(tmp_path / "one", format_version=version), "has format version")
    assert f"has format version {version!r}, this torchsep reads 1" in message


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {"format": "pt"},
        {"torchsep": ""},
        {"torchsep": "{"},
        {"torchsep": "[]"},
        {"torchsep": "{}"},
        {"torchsep": "null"},
        {"torchsep": '{"config": "hpss", "format_version": 1}'},
        {"torchsep": '{"config": null, "format_version": 1}'},
        {"torchsep": '{"config": {"name": "hpss"}, "config": {"name": "repet"}, "format_version": 1}'},
        {"torchsep": '{"config": {"name": "hpss", "power": NaN}, "format_version": 1}'},
        {"torchsep": "9" * 5000},
        {"torchsep": "[" * 200_000},
        {"torchsep": '{"config":' + '{"a":' * 100_000},
    ],
    ids=lambda metadata: str(metadata)[:40],
)
def test_other_safetensors_files_are_refused(metadata, tmp_path):
    path = tmp_path / "one.safetensors"
    path.write_bytes(to_bytes({"weight": torch.zeros(3)}, metadata=metadata))
    refused(path, "is not a torchsep checkpoint: its header does not say what to build")


def with_tensors(**changes):
    tensors = {**trained().state_dict(), **changes}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


@pytest.mark.parametrize(
    ("tensors", "wrong"),
    [
        (with_tensors(weight=torch.zeros(2, 3)), "weight"),
        (with_tensors(weight=torch.zeros(6)), "weight"),
        (with_tensors(weight=None), "weight"),
        (with_tensors(weight=None, steps=None), "steps, weight"),
        (with_tensors(extra=torch.zeros(1)), "extra"),
        (with_tensors(free_gain=torch.zeros(1)), "free_gain"),
        ({}, "free_gain, steps, weight"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tensors, wrong, tmp_path):
    refused(write(tmp_path / "one", tensors), f"does not fit scales: {wrong} missing, unknown or misshapen$")


def test_many_unknown_tensors_are_told_in_short(tmp_path):
    tensors = with_tensors(**{f"{'n' * 500}{number}": torch.zeros(1) for number in range(100)})
    refused(write(tmp_path / "one", tensors), "does not fit scales: n+, n+, n+, n+, n+ and 95 more missing")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (with_tensors(steps=torch.tensor(7.0)), "holds torch.float32 in steps, which is of torch.int64"),
        (with_tensors(weight=torch.zeros(3, 2, dtype=torch.int64)), "holds torch.int64 in weight, which is of torch.f"),
    ],
)
def test_tensors_of_another_kind_are_refused(tensors, message, tmp_path):
    refused(write(tmp_path / "one", tensors), message)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_refused(value, tmp_path):
    weight = torch.zeros(3, 2)
    weight[1, 1] = value
    refused(write(tmp_path / "one", with_tensors(weight=weight)), "holds NaN or infinite values in weight")


DEEP = json.loads("[" * 400 + "]" * 400)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "scalez", "sample_rate": 8000}, "separator must be a registered name, got 'scalez'"),
        ({"name": "os.system", "sample_rate": 8000}, "separator must be a registered name, got 'os.system'"),
        ({"name": "stft", "n_fft": 8}, "separator must be a registered name, got 'stft'"),
        ({"sample_rate": 8000}, "separator must be a name"),
        ({}, "separator must be a name"),
        ({"name": 3}, "separator must be a name"),
        ({"name": ["scales"]}, "separator must be a name"),
        ({"name": "scales", "sample_rate": 8000, "size": 3}, "scales has no argument 'size'; did you mean sizes"),
        ({"name": "scales", "sample_rate": 8000, "__class__": 3}, "scales has no argument '__class__'"),
        ({"name": "scales"}, "scales must be given sample_rate"),
        ({"name": "scales", "sample_rate": "8000"}, "sample_rate must be an integer, got '8000'"),
        ({"name": "scales", "sample_rate": -1}, "sample_rate must be at least 1, got -1"),
        ({"name": "scales", "sample_rate": 8000, "gain": 1e999}, "does not say what to build"),
        ({"name": "scales", "sample_rate": 8000, "gain": 10**400}, "integers among the arguments must add up to"),
        ({"name": "scales", "sample_rate": 8000, "gain": "g" * 100_000}, "gain must be a number"),
        ({"name": "scales" * 10_000, "sample_rate": 8000}, "separator must be a registered name"),
        ({"name": "scales", "sample_rate": 8000, "x" * 100_000: 1}, "scales has no argument 'xxx"),
        ({"name": "scales", "sample_rate": 8000, "sizes": None}, "cannot be built"),
        ({"name": "scales", "sample_rate": 8000, "sizes": ["3", "2"]}, "cannot be built"),
        ({"name": "scales", "sample_rate": 8000, "sizes": [-3, 2]}, "cannot be built"),
        ({"name": "scales", "sample_rate": 8000, "sizes": {"name": "stft", "n_fft": 8}}, "cannot be built"),
        ({"name": "broken", "sample_rate": 8000}, "cannot be built: 'of.*mine'$"),
        ({"name": "broken", "sample_rate": 8000, "way": "FileNotFoundError"}, "cannot be built: of mine$"),
        ({"name": "broken", "sample_rate": 8000, "way": "MemoryError"}, "cannot be built: of mine$"),
        ({"name": "scales", "sample_rate": 8000, "gain": {"name": "os"}}, "name must be registered, got 'os'"),
        ({"name": "scales", "sample_rate": 8000, "gain": {"name": {}}}, "name must be registered"),
        ({"name": "hpss", "sample_rate": 8000, "stft": "x"}, "stft must be an STFT or None"),
        ({"name": "hpss", "sample_rate": 8000, "trainable": 3}, "trainable must be a sequence of names"),
        ({"name": "hpss", "sample_rate": 8000, "trainable": [["power"]]}, "trainable must name parameters"),
        ({"name": "hpss", "sample_rate": 8000, "trainable": [{}]}, "trainable must name parameters"),
        ({"name": "hpss", "sample_rate": 8000, "power": DEEP}, "does not say what to build .nested too deeply.$"),
        ({"name": "hpss", "sample_rate": 8000, "margin": [[1], [2]]}, "margin must be a number"),
        ({"name": "hpss", "sample_rate": 8000, "stft": {"name": "stft", "n_fft": 8, "window": 3}}, "window must"),
        ({"name": "hpss", "sample_rate": 8000, "stft": {"name": "stft", "n_fft": 8, "window": []}}, "window must"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_configs_that_build_nothing_are_refused(config, message, tmp_path):
    refused(write(tmp_path / "one", {}, config=config), message)


@pytest.mark.parametrize(
    "config",
    [
        {"name": "scales", "sizes": [10**9, 10**9]},
        {"name": "scales", "sizes": [2**15, 2**14]},  # two gigabytes
        {"name": "scales", "sizes": [2**20, 2**20, 2**20, 2**20]},
        {"name": "layers", "num_layers": 10**9},
        {"name": "layers", "num_layers": 10**6},
        {"name": "layers", "num_constants": 2**22 - 10},  # an outer product
        {"name": "mix_as_estimate", "num_sources": 10**9},
        {"name": "ensemble_clustering", "num_sources": 2, "separators": [{"name": "mix_as_estimate"}] * 3},
        {"name": "ensemble_clustering", "separators": [{"name": "mix_as_estimate", "num_sources": 2**21}] * 1000},
        {"name": "hpss", "stft": {"name": "stft", "n_fft": 2**30}},
        {"name": "hpss", "sample_rate": 2**62},
        {"name": "hpss", "sample_rate": 10**30},
    ],
    ids=lambda config: str(config)[:60],
)
def test_what_would_take_much_memory_is_refused(config, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(torch.nn, "Linear", lambda *sizes, of=torch.nn.Linear: made.append(1) or of(*sizes))
    refused(write(tmp_path / "one", {}, config={"sample_rate": 8000, **config}), "cannot be built: ")
    assert len(made) < 20_000


def test_memory_follows_the_size_of_the_file(tmp_path):
    """Two megabytes of weights may ask for as much, in a separator that computes things as it is built."""
    separator = Scales((1024, 512), sample_rate=8000)
    assert load(save(separator, tmp_path / "one")).weight.shape == (1024, 512)
    layers = Layers(300, 1000, sample_rate=8000)
    again = load(save(layers, tmp_path / "two"))
    assert torch.equal(again.layers[299].weight, layers.layers[299].weight)
    assert torch.equal(again.constant, layers.constant)


def test_loading_draws_no_random_numbers(tmp_path):
    path = save(Layers(sample_rate=8000), tmp_path / "one")
    before = torch.random.get_rng_state()
    load(path)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_header_that_contradicts_what_it_builds_is_refused(tmp_path):
    for change in ({"names": ["voice"]}, {"sample_rate": 44100}, {"names": None}, {"sample_rate": "8000"}):
        refused(write(tmp_path / "one", **change), "contradicts itself")


def test_classes_that_are_not_registered_are_not_saved(tmp_path):
    class Stranger(MixAsEstimate):
        """Not registered."""

    with pytest.raises(ValueError, match="separator must be a registered name, got 'stranger'"):
        save(Stranger(2, sample_rate=8000), tmp_path / "one")
    impostor = type("HPSS", (MixAsEstimate,), {"__doc__": "Another class of that name."})
    with pytest.raises(ValueError, match="separator must be of a registered class, got HPSS"):
        save(impostor(2, sample_rate=8000), tmp_path / "one")
    assert [path.name for path in tmp_path.iterdir()] == ["shipped"]


@pytest.mark.parametrize("about", [{"x": torch.zeros(1)}, {"x": float("nan")}, {"x": {1, 2}}, {("a",): 1}])
def test_what_json_cannot_hold_is_not_saved(about, tmp_path):
    with pytest.raises(ValueError, match="about and arguments must be plain values that JSON can hold"):
        save(MixAsEstimate(2, sample_rate=8000), tmp_path / "one", about=about)
    assert [path.name for path in tmp_path.iterdir()] == ["shipped"]


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
def test_a_failed_write_leaves_the_old_file(step, tmp_path, monkeypatch):
    path = save(MixAsEstimate(2, sample_rate=8000), tmp_path / "one")
    before = path.read_bytes()
    original = getattr(Path, step)

    def fail(self, argument):
        if step == "write_bytes":
            original(self, argument[:50])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, step, fail)
        with pytest.raises(OSError, match="No space left on device"):
            save(trained(), path)
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["one.safetensors", "shipped"]
    assert load(save(trained(), path)).steps == 7


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        save(MixAsEstimate(2, sample_rate=8000), tmp_path / "no" / "one")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_comes_back_in_single(dtype, tmp_path):
    separator = Scales((64, 32), 0.3, sample_rate=8000, trainable=("gain",))
    with torch.no_grad():
        separator.weight += noise(64, 32).float()
        separator.steps += 7
    whole, half = save(separator, tmp_path / "whole"), save(separator, tmp_path / "half", dtype=dtype)
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    again = load(half)
    assert again.weight.dtype == torch.float32
    assert torch.equal(again.weight, separator.weight.to(dtype).float())
    assert not torch.equal(again.weight, separator.weight)
    assert again.gain.item() == separator.gain.item()
    assert again.steps == 7
    assert again.config == separator.config
    assert read_header(half)["sha256"] == checksum(
        {**separator.state_dict(), "weight": separator.weight.detach().to(dtype)}
    )


def test_what_half_precision_cannot_hold_is_not_saved(tmp_path):
    separator = trained()
    with torch.no_grad():
        separator.weight[1, 1] = 65520.0
    with pytest.raises(ValueError, match=r"^dtype must hold all weights, got torch.float16 for 6.552e\+04 in weight$"):
        save(separator, tmp_path / "one", dtype=torch.float16)
    assert load(save(separator, tmp_path / "one", dtype=torch.bfloat16)).weight[1, 1] == 65536
    with torch.no_grad():
        separator.weight[1, 1] = 65519.0
    assert load(save(separator, tmp_path / "one", dtype=torch.float16)).weight[1, 1] == 65504
    for dtype in (torch.float32, torch.int8, "float16"):
        with pytest.raises(ValueError, match=r"dtype must be one of torch\.float16, torch\.bfloat16 or None, got"):
            save(separator, tmp_path / "one", dtype=dtype)


def test_double_precision_comes_back_in_single(tmp_path):
    separator = trained().double()
    again = load(save(separator, tmp_path / "one"))
    assert again.weight.dtype == torch.float32
    assert torch.equal(again.weight, separator.weight.float())
    with torch.no_grad():
        separator.weight[0, 0] = 1e300
    refused(save(separator, tmp_path / "one"), "holds NaN or infinite values in weight")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_values_that_are_not_finite_are_not_saved(value, tmp_path):
    separator = trained()
    with torch.no_grad():
        separator.weight[1, 1] = value
    with pytest.raises(ValueError, match="separator must have finite values, got NaN or infinite ones in weight"):
        save(separator, tmp_path / "one")


def test_shared_and_strided_tensors_are_saved(tmp_path):
    separator = Layers(2, sample_rate=8000)
    separator.layers[1].weight = torch.nn.Parameter(torch.arange(4.0).reshape(2, 2).T)
    separator.layers[0].weight = separator.layers[1].weight
    again = load(save(separator, tmp_path / "one"))
    assert again.layers[0].weight.tolist() == again.layers[1].weight.tolist() == [[0, 2], [1, 3]]


METRIC = {"name": "SI-SDR improvement", "value": 9, "unit": "dB", "definition": "mean over items", "data": "test"}


def test_what_is_told_of_a_checkpoint(tmp_path):
    about = {
        "summary": "Two speakers.",
        "training": {"data": "speech", "hours": 2.5},
        "metrics": [METRIC],
        "licences": {"weights": "MIT"},
        "references": ["A. Author, 2020."],
        "own": [1, {"a": None}],
    }
    assert read_header(save(trained(), tmp_path / "one", about=about))["about"] == about


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ([], "about must be a mapping, got"),
        ({"summary": 3}, "summary in about must be a sentence, got 3"),
        ({"training": "long"}, "training in about must be a mapping of"),
        ({"metrics": {}}, "metrics in about must be a list"),
        ({"metrics": [3]}, "metrics in about must have name, value and definition, got 3"),
        ({"metrics": [{**METRIC, "value": "9"}]}, "value of a metric in about must be a number, got '9'"),
        ({"metrics": [{"name": "SDR", "value": 9.0}]}, "must have name, value and definition"),
        ({"licences": "MIT"}, "licences in about must be a mapping"),
        ({"licences": {"weights": None}}, "licences in about must be texts, got None"),
        ({"references": [1]}, "references in about must be texts, got 1"),
    ],
)
def test_fields_that_are_known_are_checked(about, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save(trained(), tmp_path / "one", about=about)


def test_what_could_not_be_read_is_not_saved(tmp_path):
    separator = MixAsEstimate(2, sample_rate=8000)
    for about in ({"log": "x" * 2**23}, {"deep": DEEP}):
        with pytest.raises(ValueError, match="about and arguments must"):
            save(separator, tmp_path / "one", about=about)
    with pytest.raises(ValueError, match="integers among the arguments must add up to at most 4194304"):
        save(Repet(0.05, period=10**7, sample_rate=8000), tmp_path / "one")
    assert [path.name for path in tmp_path.iterdir()] == ["shipped"]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The cache of the hub in a folder, without the network."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def cached(hub, separator, revision="main"):
    """A repository in the cache as the hub's own library leaves it there."""
    folder = hub / "models--ann--two.speakers"
    commit = hashlib.sha1(revision.encode()).hexdigest()  # noqa: S324 - as long as git's
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / revision).write_text(commit)
    (folder / "blobs").mkdir(exist_ok=True)
    blob = save(separator, folder / "blobs" / revision)
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to(os.path.relpath(blob, snapshot))
    return commit


def test_a_cached_checkpoint_of_the_hub_needs_no_network(hub):
    cached(hub, MixAsEstimate(2, sample_rate=8000))
    commit = cached(hub, MixAsEstimate(3, sample_rate=8000), "v2")
    assert load("hub:ann/two.speakers").num_sources == 2
    assert load("hub:ann/two.speakers@v2").num_sources == 3
    assert load(f"hub:ann/two.speakers@{commit}").num_sources == 3
    assert read_header("hub:ann/two.speakers@v2")["names"] == ["source_1", "source_2", "source_3"]
    for source in ("hub:ann/two.speakers@v3", "hub:ann/others"):
        with pytest.raises(FileNotFoundError, match=f"^{source} cannot be fetched without the network, and is not in"):
            load(source)


def test_a_hostile_file_of_the_hub_is_refused(hub):
    cached(hub, trained())
    blob = hub / "models--ann--two.speakers" / "blobs" / "main.safetensors"
    blob.write_bytes(pickle.dumps(Bomb(hub / "victim")))
    with pytest.raises(ValueError, match="is not a safetensors file, or is damaged"):
        load("hub:ann/two.speakers")
    assert not (hub / "victim").exists()


@pytest.mark.parametrize(
    "source",
    [
        "hub:",
        "hub:name",
        "hub:/name",
        "hub:user/",
        "hub:user/name@",
        "hub:user/name/file",
        "hub:user/name@a@b",
        "hub:../name",
        "hub:user/..",
        "hub:user/name@v/../../x",
        "hub: user/name",
        "hub:user/name\n",
        "hub:usér/name",
        "hub:user/a--b",
        "hub:user/" + "n" * 100_000,
    ],
)
def test_what_is_no_name_on_the_hub(hub, source):
    with pytest.raises(ValueError, match=r"^source must be hub:user/name or hub:user/name@revision") as caught:
        load(source)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("LocalEntryNotFoundError", FileNotFoundError, "^hub:a/b cannot be fetched without the network, and is not in"),
        ("RepositoryNotFoundError", FileNotFoundError, "^hub:a/b is not on the hub, or is not open to you$"),
        ("GatedRepoError", FileNotFoundError, "^hub:a/b is not on the hub, or is not open to you$"),
        ("RevisionNotFoundError", FileNotFoundError, "^hub:a/b is not on the hub, or is not open to you$"),
        ("EntryNotFoundError", FileNotFoundError, r"^hub:a/b holds no model\.safetensors$"),
        ("HfHubHTTPError", OSError, "^hub:a/b cannot be fetched: in two lines$"),
        ("OfflineModeIsEnabled", OSError, "^hub:a/b cannot be fetched: in two lines$"),
        (None, OSError, "^hub:a/b cannot be fetched: in two lines$"),
    ],
)
def test_what_the_hub_answers(name, kind, message, monkeypatch):
    raised = RuntimeError if name is None else getattr(pytest.importorskip("huggingface_hub.errors"), name)

    class Answer(raised):
        def __init__(self):
            Exception.__init__(self)

        def __str__(self):
            return "in\n two lines"

    def fail(*arguments, **options):
        raise Answer

    monkeypatch.setattr(pytest.importorskip("huggingface_hub"), "hf_hub_download", fail)
    with pytest.raises(kind, match=message):
        load("hub:a/b")


def test_only_one_file_is_fetched(tmp_path, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    asked = []

    def download(*arguments, **options):
        asked.append((arguments, options))
        return str(save(trained(), tmp_path / "one"))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert load("hub:ann/two@refs/pr/1").steps == 7
    assert asked == [(("ann/two", "model.safetensors"), {"revision": "refs/pr/1"})]


def test_the_hub_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"must be installed for the hub: pip install 'torchsep\[hub\]'$"):
        load("hub:ann/two")
