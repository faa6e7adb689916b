"""Selection and grouping of sources."""

from pathlib import Path

import pytest

from torchsep.data.grouping import as_groups, check_groups, grouped

FILES = {name: (Path(f"{name}1.wav"), Path(f"{name}2.wav")) for name in ("bass", "drums", "voice")}


def test_names_are_groups_of_one():
    assert as_groups(["voice", "bass"]) == {"voice": ("voice",), "bass": ("bass",)}
    assert as_groups(None) is None


def test_groups_of_configurations():
    from omegaconf import OmegaConf

    config = OmegaConf.create({"groups": {"voice": ["voice"], "rest": ["*"]}, "names": ["voice", "bass"]})
    assert as_groups(config.groups) == {"voice": ("voice",), "rest": ("*",)}
    assert as_groups(config.names) == {"voice": ("voice",), "bass": ("bass",)}


def test_the_rest_is_what_no_group_names():
    groups = {"rest": ("*",), "voice": ("voice",), "low": ("bass", "voice")}
    assert grouped(FILES, groups) == {
        "rest": FILES["drums"],
        "voice": FILES["voice"],
        "low": FILES["bass"] + FILES["voice"],
    }


def test_what_a_recording_lacks_is_nothing():
    assert grouped(FILES, {"horns": ("horns",), "rest": ("*", "horns")})["horns"] == ()


def test_unknown_names_are_refused():
    check_groups({"voice": ("voice", "*")}, FILES)
    check_groups(None, FILES)
    with pytest.raises(ValueError, match="sources must be made of bass, drums, voice, got 'vioce'; did you mean voice"):
        check_groups({"voice": ("vioce",)}, FILES)
