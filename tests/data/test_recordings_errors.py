"""Recordings that are missing, damaged or changed, and options that are refused."""

import warnings

import pytest
import torch
from data.layouts import noise, write
from data.songs import Songs


def damage(root, how):
    path = root / "b" / "drums.wav"
    if how == "missing":
        path.unlink()
    elif how == "damaged":
        path.write_bytes(b"no audio")
    elif how == "rate":
        write(path, noise(1, 2, 2000), 16000)
    elif how == "length":
        write(path, noise(1, 2, 1999))
    else:
        write(path, noise(1, 3, 2000))
    return path


PROBLEMS = {
    "missing": (FileNotFoundError, "does not exist"),
    "damaged": (ValueError, "is no audio"),
    "rate": (ValueError, "must have the 8000 Hz of mixture.wav, got 16000 Hz"),
    "length": (ValueError, "must have the 2000 samples of mixture.wav, got 1999"),
    "channels": (ValueError, "must have 3 channels or one, got 2"),
}


@pytest.mark.parametrize("how", PROBLEMS)
def test_bad_files_are_named(songs, how):
    root, _ = songs
    path = damage(root, how)
    kind, problem = PROBLEMS[how]
    with pytest.raises(kind, match=problem) as caught:
        Songs(root, None)
    assert "\n" not in str(caught.value)
    assert str(path if how != "channels" else root / "b" / "mixture.wav") in str(caught.value)


@pytest.mark.parametrize("how", PROBLEMS)
def test_bad_files_are_left_out(songs, how):
    root, stems = songs
    damage(root, how)
    with pytest.warns(UserWarning, match="1 of 3 recordings are left out; the first: .*") as warned:
        data = Songs(root, None, on_error="skip")
    assert len(warned) == 1
    assert [item["id"] for item in data] == ["a", "c"]
    assert torch.equal(data[1]["sources"], stems["c"])


def test_files_that_turn_out_bad_later(songs):
    root, _ = songs
    data, skipping = Songs(root, None), Songs(root, None, on_error="skip")
    for name in "bc":
        (root / name / "voice.wav").write_bytes(b"no audio")
    with pytest.raises(ValueError, match=r"b/voice.wav: is no audio"):
        data[1]
    with pytest.warns(UserWarning, match="the next item is taken instead"):
        assert skipping[1]["id"] == "a"  # past c, round to the beginning
    (root / "a" / "voice.wav").unlink()
    with (
        pytest.warns(UserWarning, match="instead"),
        pytest.raises(ValueError, match="none of the recordings can be read"),
    ):
        skipping[1]


def test_files_that_change_later(songs):
    root, _ = songs
    data = Songs(root, None)
    write(root / "a" / "voice.wav", noise(1, 2, 1600), 4000)
    with pytest.raises(ValueError, match=r"a/voice.wav: has changed"):
        data[0]


def test_nothing_left(songs):
    root, _ = songs
    for name in "abc":
        (root / name / "mixture.wav").unlink()
    with warnings.catch_warnings(), pytest.raises(ValueError, match=r"holds no recording; .*a/mixture.wav: does not"):
        Songs(root, None, on_error="skip")


def test_ids_differ(songs):
    root, _ = songs

    class Twice(Songs):
        def entries(self):
            return [*super().entries(), *super().entries()]

    with pytest.raises(ValueError, match="a: the id of two recordings"):
        Twice(root, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": ["voice", "bas"]}, "sources must be made of bass, drums, voice, got 'bas'; did you mean bass?"),
        ({"sources": "voice"}, "sources must be a list of names"),
        ({"sources": []}, "sources must be a list of names"),
        ({"sources": ["voice", "voice"]}, "sources must be distinct"),
        ({"sources": {"all": "voice"}}, "sources must map all to a list of names, got 'voice'"),
        ({"sources": {"all": []}}, "sources must map all to a list of names"),
        ({"duration": 0.0}, "duration must be above 0"),
        ({"duration": float("nan")}, "duration must be finite"),
        ({"excerpts": "some"}, "excerpts must be one of random, all"),
        ({"on_error": "ignore"}, "on_error must be one of raise, skip"),
        ({"sample_rate": 0}, "sample_rate must be at least 1"),
        ({"channels": 1.5}, "channels must be an integer"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_options_are_checked(songs, options, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        Songs(songs[0], None, **options)


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: is no folder; root must be that of the data set"):
        Songs(tmp_path / "nowhere", None)
