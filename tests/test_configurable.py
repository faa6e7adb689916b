"""Registry names, arguments and configs of modules."""

import json

import pytest
import torch

from torchsep.configurable import Configurable, registry_name
from torchsep.registry import build
from torchsep.separators import HPSS, HighLowPassFilter, IdealRatioMask, MixAsEstimate, Repet
from torchsep.transforms import STFT


class Part(Configurable):
    """A module with one argument."""

    def __init__(self, size=3):
        super().__init__()
        self.size = size


class Whole(Configurable):
    """A module made of modules."""

    def __init__(self, part, parts, values=(1, 2), *, note=None):
        super().__init__()
        self.part = part
        self.parts = torch.nn.ModuleList(parts)
        self.values = values
        self.note = note


@pytest.mark.parametrize(
    ("class_name", "expected"),
    [
        ("HPSS", "hpss"),
        ("Repet", "repet"),
        ("RepetSim", "repet_sim"),
        ("FT2D", "ft2d"),
        ("STFT", "stft"),
        ("HighLowPassFilter", "high_low_pass_filter"),
        ("MixAsEstimate", "mix_as_estimate"),
        ("IdealRatioMask", "ideal_ratio_mask"),
        ("RPCA", "rpca"),
        ("NMFSeparator", "nmf_separator"),
    ],
)
def test_names_are_in_snake_case(class_name, expected):
    assert registry_name(type(class_name, (), {})) == expected


def test_arguments_are_those_of_the_constructor():
    assert list(Whole.arguments()) == ["part", "parts", "values", "note"]
    assert list(HPSS.arguments()) == [
        "kernel_size",
        "power",
        "margin",
        "mask_type",
        "mask_threshold",
        "stft",
        "sample_rate",
        "trainable",
    ]
    assert HPSS.arguments()["power"].default == 2.0


def test_a_config_is_plain_all_the_way_down():
    whole = Whole(Part(), [Part(4), Part(5)], values=((1, 2), [torch.tensor([3.0, 4.0])]), note="n")
    assert whole.config == {
        "name": "whole",
        "part": {"name": "part", "size": 3},
        "parts": [{"name": "part", "size": 4}, {"name": "part", "size": 5}],
        "values": [[1, 2], [[3.0, 4.0]]],
        "note": "n",
    }


def test_the_config_of_a_separator():
    separator = HPSS((17, 9), margin=2.0, sample_rate=44100, stft=STFT(64, window=("kaiser", 8.0)))
    assert separator.config == {
        "name": "hpss",
        "kernel_size": [17, 9],
        "power": 2.0,
        "margin": 2.0,
        "sample_rate": 44100,
        "mask_type": "soft",
        "mask_threshold": 0.5,
        "stft": {"name": "stft", "n_fft": 64, "hop_length": 16, "window": ["kaiser", 8.0], "win_length": 64},
        "trainable": [],
    }


@pytest.mark.parametrize(
    "separator",
    [
        HPSS((17, 9), margin=(2.0, 3.0), sample_rate=44100, stft=STFT(64, window=("general_cosine", [0.5, 0.5]))),
        HPSS(sample_rate=8000, trainable=("power",)),
        HighLowPassFilter(100.0, sample_rate=8000, mask_type="soft"),
        IdealRatioMask("msa", sample_rate=16000),
        MixAsEstimate(4, sample_rate=16000),
        Repet(0.3, 2.0, period=0.5, sample_rate=22050, mask_type="binary", mask_threshold=0.1),
    ],
    ids=lambda separator: type(separator).__name__,
)
def test_a_config_goes_through_json_and_builds_the_same(separator):
    config = separator.config
    text = json.dumps(config, allow_nan=False)
    again = build(json.loads(text))
    assert type(again) is type(separator)
    assert again.config == config
    assert repr(again) == repr(separator)


def test_the_repr_names_every_argument_that_is_no_module():
    text = repr(HPSS((17, 9), sample_rate=8000))
    assert text.startswith("HPSS(\n  kernel_size=[17, 9], power=2.0, margin=1.0, mask_type='soft', ")
    assert "(stft): STFT(n_fft=256, hop_length=64, window='sqrt_hann', win_length=256)" in text
    assert repr(Part()) == "Part(size=3)"


def test_an_argument_that_is_set_later_is_checked_as_in_the_constructor():
    separator = HPSS(sample_rate=8000)
    separator.mask_type = "binary"
    assert separator.config["mask_type"] == "binary"
    with pytest.raises(ValueError, match=r"^mask_type must be one of soft, binary, got 'hard'"):
        separator.mask_type = "hard"
    assert separator.mask_type == "binary"
    mixture = torch.randn(1, 2000)
    assert torch.equal(separator(mixture), HPSS(mask_type="binary", sample_rate=8000)(mixture))


def test_what_follows_from_an_argument_changes_with_it():
    separator = build("timbre_clustering", sample_rate=8000)
    separator.num_sources = 3
    assert separator.names == ("source_1", "source_2", "source_3")
    assert separator(torch.randn(1, 4000)).shape == (3, 1, 4000)
    with pytest.raises(ValueError, match=r"^num_sources must be at least 2, got 1"):
        separator.num_sources = 1
    windows = build("overlap_add", separator="hpss", sample_rate=8000)
    windows.window = "hamming"
    assert torch.equal(
        windows._window, build("overlap_add", separator="hpss", window="hamming", sample_rate=8000)._window
    )


def test_an_argument_that_needs_other_parameters_is_refused():
    separator = build("supervised_nmf", names=["a", "b"], n_components=3, sample_rate=8000)
    with pytest.raises(
        ValueError, match=r"^n_components must not change the parameters of supervised_nmf; build anoth"
    ):
        separator.n_components = 4
    separator.max_iter = 7
    assert separator.config["max_iter"] == 7
    assert separator.templates.shape[-1] == 3
