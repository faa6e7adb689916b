"""One idea, one name: the argument names of constructors and public functions follow the naming rules."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args, get_type_hints

import pytest

import torchsep.functional
import torchsep.losses
import torchsep.metrics
import torchsep.networks
from torchsep import registry
from torchsep.configurable import Configurable
from torchsep.separators.bases import background_separator, clustering_separator, mask_separator, separator

FORBIDDEN = {
    "maxiter": "max_iter",
    "max_iters": "max_iter",
    "max_iterations": "max_iter",
    "maximum_iterations": "max_iter",
    "num_iter": "num_iterations",
    "iterations": "num_iterations",
    "epsilon": "tol",
    "n_sources": "num_sources",
    "talkers": "speakers",
    "num_talkers": "num_speakers",
    "num_clusters": "n_clusters",
    "num_components": "n_components",
    "num_mfcc": "n_mfcc",
    "num_mels": "n_mels",
    "num_fft": "n_fft",
    "nfft": "n_fft",
    "num_init": "n_init",
    "num_starts": "n_init",
    "cutoff": "cutoff_hz",
    "f_min": "min_frequency_hz",
    "fmin": "min_frequency_hz",
    "f_max": "max_frequency_hz",
    "fmax": "max_frequency_hz",
    "lowest": "min_frequency_hz",
    "highest": "max_frequency_hz",
    "regularisation": "regularization",
    "window_type": "window",
    "loss_type": "beta_loss",
}
"""Spellings that are not used, with the right one."""

FORBIDDEN_WORDS = {"minimum": "min", "maximum": "max", "talker": "speaker", "talkers": "speakers"}
"""Words that are not used within a name, with the right one."""

EXPLAINED_ELSEWHERE = {"mask_type", "mask_threshold", "stft", "sample_rate", "trainable"}
"""Arguments shared by separators, not counted as a constructor's own."""

MOST_ARGUMENTS = 10

OPTIONS = {
    separator.SeparatorOptions: separator.Separator,
    mask_separator.MaskOptions: mask_separator.MaskSeparator,
    background_separator.BackgroundOptions: background_separator.BackgroundSeparator,
    clustering_separator.ClusteringOptions: clustering_separator.ClusteringSeparator,
}


def name_faults(name: str) -> Iterator[str]:
    """The rules that the name of an argument breaks."""
    if name in FORBIDDEN:
        yield f"{name} must be {FORBIDDEN[name]}"
    for word in name.split("_"):
        if word in FORBIDDEN_WORDS:
            yield f"{name} must use {FORBIDDEN_WORDS[word]} for {word}"
    if re.search(r"frequenc|cutoff", name) and not name.endswith("_hz"):
        yield f"{name} must end in _hz"


def faults(parameters: Mapping[str, inspect.Parameter]) -> Iterator[str]:
    """The rules that parameters break by their names and string defaults."""
    for name, parameter in parameters.items():
        yield from name_faults(name)
        if isinstance(parameter.default, str) and not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", parameter.default):
            yield f"{name} must have a default in lower snake case, got {parameter.default!r}"


def class_faults(kind: type[Configurable]) -> list[str]:
    """The rules that the constructor of a class breaks."""
    found = list(faults(kind.arguments()))
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    own = [item.name for item in parameters if item.kind is not item.VAR_KEYWORD]
    own = [name for name in own if name not in EXPLAINED_ELSEWHERE]
    if len(own) > MOST_ARGUMENTS:
        found.append(f"{kind.__name__} must have at most {MOST_ARGUMENTS} arguments of its own, got {len(own)}")
    return found


def public(module: Any) -> list[Any]:
    """The public functions and classes of a module that can be called, without exceptions and protocols."""
    found = (getattr(module, name) for name in module.__all__)
    return [item for item in found if callable(item) and not get_args(item)]


def options_faults(options: type, base: type[Configurable]) -> list[str]:
    """The differences between the keys of a typed dictionary and the keyword-only arguments of a base class."""
    wanted = {name for name, item in base.arguments().items() if item.kind is item.KEYWORD_ONLY}
    got = set(get_type_hints(options))
    return [f"{options.__name__} must have exactly {sorted(wanted)}, got {sorted(got)}"] if got != wanted else []


@pytest.mark.parametrize("kind", registry._REGISTERED.values(), ids=lambda kind: kind.__name__)
def test_registered_classes(kind):
    assert class_faults(kind) == []


@pytest.mark.parametrize(
    "item",
    [
        *public(torchsep.functional),
        *public(torchsep.losses),
        *public(torchsep.metrics),
        *public(torchsep.networks),
        *public(torchsep.separators),
    ],
    ids=lambda item: item.__name__,
)
def test_public_functions_and_classes(item):
    assert list(faults(inspect.signature(item).parameters)) == []


@pytest.mark.parametrize(("options", "base"), OPTIONS.items(), ids=lambda item: item.__name__)
def test_options_are_the_keyword_arguments_of_the_base(options, base):
    assert options_faults(options, base) == []


def test_front_end_options_leave_out_the_mask_type_only():
    front_end = set(get_type_hints(mask_separator.FrontEndOptions))
    assert set(get_type_hints(mask_separator.MaskOptions)) - front_end == {"mask_type"}


class Planted(Configurable):
    """A class that breaks every rule."""

    def __init__(
        self,
        *,
        max_iterations=1,
        cutoff=1.0,
        centre_frequency=1.0,
        minimum_period=1.0,
        num_talkers=2,
        loss="Kullback-Leibler",
        a=0,
        b=0,
        c=0,
        d=0,
        e=0,
    ):
        super().__init__()


@pytest.mark.parametrize(
    "fault",
    [
        "max_iterations must be max_iter",
        "cutoff must be cutoff_hz",
        "cutoff must end in _hz",
        "centre_frequency must end in _hz",
        "minimum_period must use min for minimum",
        "num_talkers must be num_speakers",
        "loss must have a default in lower snake case, got 'Kullback-Leibler'",
        "Planted must have at most 10 arguments of its own, got 11",
    ],
)
def test_a_planted_fault_is_found(fault):
    assert fault in class_faults(Planted)


def test_a_missing_option_is_found():
    assert options_faults(separator.SeparatorOptions, mask_separator.MaskSeparator)


def test_a_function_is_walked():
    def function(f_min: float, mode: str = "a b") -> Callable[..., None]:
        raise NotImplementedError

    assert list(faults(inspect.signature(function).parameters)) == [
        "f_min must be min_frequency_hz",
        "mode must have a default in lower snake case, got 'a b'",
    ]
