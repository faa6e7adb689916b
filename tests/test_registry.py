"""The registry, and construction from names and configs."""

import inspect

import pytest
import torch
from scenes import noise

import torchsep
from torchsep import registry
from torchsep.configurable import registry_name
from torchsep.registry import build, list_separators, register, separator_class
from torchsep.separators import HPSS, MixAsEstimate, Repet, Separator
from torchsep.transforms import STFT


@pytest.fixture(autouse=True)
def registry_as_it_was(monkeypatch):
    """Whatever a test registers is forgotten."""
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))


def test_names_are_sorted_and_in_snake_case():
    names = list_separators()
    assert names == sorted(names)
    assert {"hpss", "ideal_ratio_mask", "supervised_nmf"} <= set(names)
    assert all(registry_name(separator_class(name)) == name for name in names)


def test_every_public_separator_has_a_name():
    public = [getattr(torchsep.separators, name) for name in torchsep.separators.__all__]
    concrete = {kind for kind in public if issubclass(kind, Separator) and not inspect.isabstract(kind)}
    assert {separator_class(name) for name in list_separators()} == concrete


def test_build_by_name():
    separator = build("hpss", kernel_size=5, sample_rate=16000)
    assert type(separator) is HPSS
    assert separator.kernel_size == 5
    assert separator.sample_rate == 16000


def test_build_by_config():
    config = {"name": "repet", "min_period": 0.3, "sample_rate": 8000}
    separator = build(config)
    assert type(separator) is Repet
    assert separator.min_period == 0.3
    assert build(config, min_period=0.4).min_period == 0.4
    assert config == {"name": "repet", "min_period": 0.3, "sample_rate": 8000}


def test_build_with_a_nested_config():
    front = {"name": "stft", "n_fft": 64, "window": ["kaiser", 8.0]}
    separator = build("hpss", sample_rate=8000, stft=front)
    assert isinstance(separator.stft, STFT)
    assert (separator.stft.n_fft, separator.stft.hop_length, separator.stft.window) == (64, 16, ("kaiser", 8.0))
    assert build(separator.config).config == separator.config
    ready = STFT(32)
    assert build("hpss", sample_rate=8000, stft=ready).stft is ready
    mixture = noise(3, 2, 99)
    assert torch.equal(build(separator.config)(mixture), separator(mixture))


@pytest.mark.parametrize(
    ("separator", "arguments", "message"),
    [
        ("hps", {}, r"^separator must be a registered name, got 'hps'; did you mean hpss\?$"),
        (
            "xyzzy",
            {},
            "^separator must be a registered name, got 'xyzzy'; known are deep_audio_estimation, deep_clustering, ",
        ),
        ("stft", {"n_fft": 8}, "^separator must be a registered name, got 'stft'"),
        ("", {}, "^separator must be a registered name, got ''"),
        ("hpss", {"kernelsize": 3}, r"^hpss has no argument 'kernelsize'; did you mean kernel_size\?$"),
        ("hpss", {"xyzzy": 3}, "^hpss has no argument 'xyzzy'; it takes kernel_size, power, margin, mask_type, "),
        ("hpss", {"self": 3}, "^hpss has no argument 'self'"),
        ("hpss", {}, "^hpss must be given sample_rate$"),
        ("high_low_pass_filter", {}, "^high_low_pass_filter must be given cutoff_hz, sample_rate$"),
        ("hpss", {"sample_rate": 8000, "power": -1}, "^power must be at least 0, got -1$"),
        (
            {"sample_rate": 8000},
            {},
            r"^separator must be a name or a mapping with a name, got \{'sample_rate': 8000\}$",
        ),
        ({"name": 3}, {}, "^separator must be a name or a mapping with a name, got "),
        ({"name": ["hpss"]}, {}, "^separator must be a name or a mapping with a name, got "),
        ({"name": None}, {}, "^separator must be a name or a mapping with a name, got "),
        (3, {}, "^separator must be a name or a mapping with a name, got 3"),
        (None, {}, "^separator must be a name or a mapping with a name, got None"),
        (["hpss"], {}, "^separator must be a name or a mapping with a name, got "),
        (
            "hpss",
            {"sample_rate": 8000, "stft": {"name": "sfft"}},
            "^name must be registered, got 'sfft'; did you mean stft",
        ),
        ("hpss", {"sample_rate": 8000, "stft": {"name": ["stft"]}}, "^name must be registered, got "),
        ("hpss", {"sample_rate": 8000, "stft": {"name": None}}, "^name must be registered, got None"),
        ("hpss", {"sample_rate": 8000, "stft": {"name": "stft"}}, "^stft must be given n_fft$"),
        (
            "hpss",
            {"sample_rate": 8000, "stft": {"name": "stft", "nfft": 8}},
            r"^stft has no argument 'nfft'; .* n_fft\?$",
        ),
        (
            "ensemble_clustering",
            {"sample_rate": 8000, "separators": ["hpss", "hps"]},
            r"^separator must be a registered name, got 'hps'; did you mean hpss\?$",
        ),
        ("hpss", {"sample_rate": 8000, "stft": {"n_fft": 8}}, "^stft must be an STFT or None"),
        ("hpss", {"sample_rate": 8000, "stft": {"name": "repet", "sample_rate": 1}}, "^stft must be an STFT or None"),
    ],
)
def test_what_cannot_be_built(separator, arguments, message):
    with pytest.raises(ValueError, match=message):
        build(separator, **arguments)


def test_separators_in_a_separator_may_be_names_and_have_its_sample_rate():
    repet, ft2d = {"name": "repet", "min_period": 0.3}, {"name": "ft2d", "sample_rate": 8000}
    given = ["hpss", repet, ft2d, HPSS(sample_rate=8000)]
    ensemble = build("ensemble_clustering", separators=given, sample_rate=8000)
    assert [part.sample_rate for part in ensemble.separators] == [8000] * 4
    assert ensemble.separators[1].min_period == 0.3
    assert ensemble.separators[3] is given[3]
    with pytest.raises(ValueError, match="separators must have sample_rate=16000, got ft2d with 8000"):
        build("ensemble_clustering", separators=given, sample_rate=16000)
    # A word that is no separator stays one.
    assert build("hpss", mask_type="soft", sample_rate=8000).mask_type == "soft"


def test_a_class_of_your_own():
    @register
    class ThirdOfAll(MixAsEstimate):
        """Return a third of the mixture."""

    assert "third_of_all" in list_separators()
    separator = build("third_of_all", num_sources=3, sample_rate=8000)
    assert type(separator) is ThirdOfAll
    assert build(separator.config).config == separator.config


def test_a_class_defined_again_replaces_its_former_self():
    def define(scale):
        @register
        class Again(MixAsEstimate):
            """One version of a class."""

            scaled = scale

        return Again

    first, second = define(1), define(2)
    assert first is not second
    assert separator_class("again") is second
    assert register(second) is second


def test_another_class_may_not_take_a_name():
    hpss = type("HPSS", (MixAsEstimate,), {"__module__": "elsewhere", "__doc__": "Another."})
    with pytest.raises(
        ValueError, match=r"class name must be new, got HPSS: hpss is defined in torchsep\.separators\.hpss"
    ):
        register(hpss)
    assert separator_class("hpss") is HPSS


def test_modules_that_are_no_separators_are_not_listed():
    class Window(STFT):
        """A front end."""

    register(Window)
    assert "window" not in list_separators()
    assert type(build("hpss", sample_rate=8000, stft={"name": "window", "n_fft": 8}).stft) is Window
