"""Slakh2100: stems summed by instrument class."""

import pytest
import torch
from data.layouts import noise, write

from torchsep.data.slakh2100 import Slakh2100

BAND = {"S00": "Bass", "S01": "Piano", "S02": "Strings (continued)", "S03": "Piano", "S05": "Drums", "S06": "Organ"}


def make(track, classes, seed=0, suffix="flac", silent=("S04",)):
    """Write a track of some stems, with unrendered ``silent`` ones in the metadata; return the stems by name."""
    stems = {name: noise(100 * seed + index) for index, name in enumerate(classes)}
    for name, stem in stems.items():
        write(track / "stems" / f"{name}.{suffix}", stem)
    write(track / f"mix.{suffix}", sum(stems.values()))
    about = [(name, inst_class, "true") for name, inst_class in classes.items()]
    about += [(name, "Guitar", "false") for name in silent]
    text = "".join(f"  {name}:\n    audio_rendered: {done}\n    inst_class: {kind}\n" for name, kind, done in about)
    (track / "metadata.yaml").write_text(f"UUID: abc\nnormalized: true\nstems:\n{text}target_peak: -1.0\n")
    return stems


@pytest.mark.parametrize("suffix", ["flac", "wav"])
def test_classes_are_summed(tmp_path, suffix):
    stems = make(tmp_path / "test" / "Track01876", BAND, suffix=suffix)
    data = Slakh2100(tmp_path, "test")
    bass, drums, guitar, piano, other = data[0]["sources"]
    assert data.names == ("bass", "drums", "guitar", "piano", "other")
    assert data[0]["id"] == "test/Track01876"
    assert torch.equal(bass, stems["S00"])
    assert torch.equal(drums, stems["S05"])
    assert not guitar.any()
    assert torch.equal(piano, stems["S01"] + stems["S03"])
    assert torch.equal(other, stems["S02"] + stems["S06"])
    assert torch.equal(data[0]["mixture"], sum(stems.values()))


def test_other_groups(tmp_path):
    stems = make(tmp_path / "test" / "Track1", BAND)
    data = Slakh2100(tmp_path, "test", sources={"strings": ["strings (continued)", "guitar"], "rest": ["*"]})
    assert torch.equal(data[0]["sources"][0], stems["S02"])
    assert torch.equal(data[0]["sources"].sum(0), data[0]["mixture"])


def test_each_class(tmp_path):
    make(tmp_path / "test" / "Track1", BAND)
    make(tmp_path / "test" / "Track2", {"S00": "Organ"}, 1)
    data = Slakh2100(tmp_path, "test", sources=None)
    assert data.names == ()
    assert data.names_of(0) == ("bass", "drums", "organ", "piano", "strings (continued)")
    assert data.names_of(1) == ("organ",)
    assert data[1]["sources"].shape == (1, 1, 1600)


@pytest.mark.parametrize(
    ("split", "folder"),
    [
        ("train", "train"),
        ("valid", "validation"),
        ("validation", "validation"),
        ("test", "test"),
        ("omitted", "omitted"),
    ],
)
def test_splits(tmp_path, split, folder):
    for name in ("train", "validation", "test", "omitted"):
        make(tmp_path / name / "Track1", {"S00": "Bass"})
    assert [item["id"] for item in Slakh2100(tmp_path, split)] == [f"{folder}/Track1"]


@pytest.mark.parametrize("text", [None, "stems: [", "stems: 3", "a: b", "", "stems:\n  S00:\n    inst_class: Bass\n"])
def test_bad_metadata_is_named_or_left_out(tmp_path, text):
    for number in (1, 2):
        make(tmp_path / "test" / f"Track{number}", {"S00": "Bass"})
    path = tmp_path / "test" / "Track1" / "metadata.yaml"
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(FileNotFoundError if text is None else ValueError) as caught:
        Slakh2100(tmp_path, "test")
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    with pytest.warns(UserWarning, match="1 of 2 recordings are left out"):
        assert [item["id"] for item in Slakh2100(tmp_path, "test", on_error="skip")] == ["test/Track2"]


def test_a_missing_stem_is_named(tmp_path):
    make(tmp_path / "test" / "Track1", BAND)
    (tmp_path / "test/Track1/stems/S06.flac").unlink()
    with pytest.raises(FileNotFoundError, match=r"stems/S06.flac: does not exist"):
        Slakh2100(tmp_path, "test")
