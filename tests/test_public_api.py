"""The public interface: names, documentation, and a light import."""

import importlib
import inspect
import json
import re
import subprocess
import sys

import pytest

import torchsep
from torchsep.transforms import STFT

MODULES = ("", ".functional", ".losses", ".metrics", ".networks", ".separators", ".transforms")
HEAVY = (
    "hydra",
    "librosa",
    "matplotlib",
    "omegaconf",
    "pytorch_lightning",
    "rich",
    "scipy",
    "sklearn",
    "soundfile",
    "torchaudio",
    "torchmetrics",
    "typer",
    "yaml",
)
PUBLIC = [
    (f"torchsep{module}.{name}", getattr(importlib.import_module(f"torchsep{module}"), name))
    for module in MODULES
    for name in importlib.import_module(f"torchsep{module}").__all__
]
PUBLIC = [(name, value) for name, value in PUBLIC if not inspect.ismodule(value)]
SHARED_ARGUMENTS = re.compile(r"(?i)(arguments|modes)\b.* as for :func:`\w+`")
CLASSES = [(name, kind) for name, kind in PUBLIC if inspect.isclass(kind) and not issubclass(kind, tuple)]
FUNCTIONS = [
    (name, function)
    for name, function in PUBLIC
    if inspect.isfunction(function) and not SHARED_ARGUMENTS.search(function.__doc__ or "")
]


def documented(text):
    """The names in the ``Args:`` section of a docstring."""
    section = re.search(r"^Args:\n((?:[ ]{4}.*\n|\n)+)", inspect.cleandoc(text) + "\n", re.MULTILINE)
    return re.findall(r"^ {4}(\w+):", section.group(1), re.MULTILINE) if section else []


@pytest.mark.parametrize("module", MODULES)
def test_all_names_are_sorted_and_complete(module):
    """``__all__`` of a package lists what its ``__init__`` imports, and nothing else."""
    package = importlib.import_module(f"torchsep{module}")
    assert len(set(package.__all__)) == len(package.__all__)
    imported = {
        name
        for name, value in vars(package).items()
        if getattr(value, "__module__", "").startswith("torchsep") and not name.startswith("_")
    }
    modules = {name for name in package.__all__ if inspect.ismodule(getattr(package, name))}
    assert imported | modules == set(package.__all__)


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", torchsep.__version__)


def test_dir_lists_modules_that_are_imported_lazily():
    assert {"audio", "data", "engine", *torchsep.__all__} <= set(dir(torchsep))
    assert torchsep.audio is importlib.import_module("torchsep.audio")
    with pytest.raises(AttributeError, match="module 'torchsep' has no attribute 'hpss'"):
        _ = torchsep.hpss


def test_the_import_is_light_and_silent():
    """In a fresh process, with every warning an error; what torch itself imports is not ours."""
    code = """
import json, sys, warnings
import numpy, torch
before = set(sys.modules)
state = torch.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads()
warnings.simplefilter("error")
import torchsep
torchsep.build("hpss", sample_rate=8000)(torch.ones(1, 2, 99))
assert torch.equal(state[0], torch.get_rng_state())
assert state[1:] == (torch.get_default_dtype(), torch.get_num_threads())
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules if name not in before})))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    loaded = set(json.loads(done.stdout))
    assert "torchsep" in loaded
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize(("name", "kind"), PUBLIC, ids=[name for name, _ in PUBLIC])
def test_everything_public_is_documented(name, kind):
    assert len(inspect.getdoc(kind) or "") > 40
    if inspect.isclass(kind):
        assert kind.__doc__  # its own, not that of its base
        methods = [value for key, value in vars(kind).items() if not key.startswith("_") and callable(value)]
        assert all(method.__doc__ for method in methods)


@pytest.mark.parametrize(("name", "kind"), CLASSES, ids=[name for name, _ in CLASSES])
def test_classes_document_every_argument(name, kind):
    has_own = "__init__" in vars(kind)
    own = list(inspect.signature(kind.__init__).parameters)[1:] if has_own else ["options"]
    allowed = [set(own)] if has_own else [set(), set(own)]  # a class may refer to the arguments of its base
    assert set(documented(kind.__doc__)) in allowed


@pytest.mark.parametrize(("name", "function"), FUNCTIONS, ids=[name for name, _ in FUNCTIONS])
def test_functions_document_every_argument(name, function):
    assert documented(function.__doc__) == list(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    "kind",
    [STFT, *(kind for _, kind in CLASSES if issubclass(kind, torchsep.Separator) and not inspect.isabstract(kind))],
    ids=lambda kind: kind.__name__,
)
def test_separators_document_shape_gradient_and_an_example(kind):
    text = inspect.cleandoc(kind.__doc__)
    assert "\nShape:\n" in text
    assert "\nGradient:\n" in text
    assert "\nExample:\n    >>> " in text
