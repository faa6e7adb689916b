"""The songs of each split of MUSDB18-HQ."""

import pytest
import torch
from data.layouts import write_sources

from torchsep.data.musdb18 import MUSDB18HQ

STEMS = ("drums", "bass", "other", "vocals")


@pytest.fixture
def root(tmp_path):
    for seed, song in enumerate(("train/A - B", "train/ANiMAL - Rockshow", "test/C - D", "test/Leaf - Summerghost")):
        write_sources(tmp_path / song, STEMS, seed, "mixture", channels=2)
    (tmp_path / "train" / ".DS_Store").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("split", "ids"),
    [
        ("train", ["train/A - B"]),
        ("valid", ["train/ANiMAL - Rockshow"]),
        ("test", ["test/C - D", "test/Leaf - Summerghost"]),
    ],
)
def test_splits(root, split, ids):
    data = MUSDB18HQ(root, split)
    assert [item["id"] for item in data] == ids
    assert data.names == STEMS
    for item in data:
        assert item["sources"].shape == (4, 2, 1600)
        assert torch.equal(item["mixture"], item["sources"].sum(0))


def test_stems_come_in_their_order(tmp_path):
    sources = write_sources(tmp_path / "test" / "song", STEMS, mixture="mixture")
    assert torch.equal(MUSDB18HQ(tmp_path, "test")[0]["sources"], sources)


def test_fourteen_songs_are_for_validation(tmp_path):
    from torchaudio.datasets.musdb_hq import _VALIDATION_SET  # an independent list

    for song in (*_VALIDATION_SET, "Another - Song"):
        write_sources(tmp_path / "train" / song, STEMS, mixture="mixture", samples=100)
    names = {item["id"].removeprefix("train/") for item in MUSDB18HQ(tmp_path, "valid")}
    assert names == set(_VALIDATION_SET)
    assert len(names) == 14
    assert [item["id"] for item in MUSDB18HQ(tmp_path, "train")] == ["train/Another - Song"]


def test_a_missing_stem_is_named(root):
    (root / "test/C - D/other.wav").unlink()
    with pytest.raises(FileNotFoundError, match=r"C - D/other.wav: does not exist"):
        MUSDB18HQ(root, "test")


def test_other_splits_are_refused(root):
    with pytest.raises(
        ValueError, match="split must be one of train, valid, test, got 'validation'; did you mean valid"
    ):
        MUSDB18HQ(root, "validation")


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="test: is no folder; root must be that of the data set"):
        MUSDB18HQ(tmp_path, "test")
