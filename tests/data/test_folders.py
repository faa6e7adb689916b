"""Generic folders: stems per recording, and separate folders of mixtures and sources."""

import pytest
import torch
from data.layouts import noise, write, write_sources, write_speakers

from torchsep.data.folders import MixtureFolder, StemFolder


def test_stems_at_any_depth(tmp_path):
    made = {
        "album/one/song": write_sources(tmp_path / "album/one/song", ("drums", "voice"), 1, "mixture", channels=2),
        "b": write_sources(tmp_path / "b", ("drums", "voice"), 2),
        "song": write_sources(tmp_path / "song", ("drums", "voice"), 3, suffix="flac"),
    }
    data = StemFolder(tmp_path)
    assert data.names == ("drums", "voice")
    for item, (name, sources) in zip(data, made.items(), strict=True):
        assert item["id"] == name
        assert torch.equal(item["sources"], sources)
        assert torch.equal(item["mixture"], sources.sum(0))


def test_the_mixture_is_its_file_where_there_is_one(tmp_path):
    write_sources(tmp_path / "song", ("drums", "voice"))
    mixture = write(tmp_path / "song" / "mixture.wav", noise(9))
    assert torch.equal(StemFolder(tmp_path)[0]["mixture"], mixture)
    mix = write(tmp_path / "song" / "mix.wav", noise(10))
    data = StemFolder(tmp_path, mixture="mix")
    assert data.names == ("drums", "mixture", "voice")
    assert torch.equal(data[0]["mixture"], mix)


def test_recordings_may_differ(tmp_path):
    write_sources(tmp_path / "a", ("drums", "voice"), rate=8000, channels=2)
    write_sources(tmp_path / "b", ("bass", "drums", "voice"), rate=16000, samples=500)
    data = StemFolder(tmp_path)
    assert data.names == ()
    assert (data.names_of(0), data.names_of(1)) == (("drums", "voice"), ("bass", "drums", "voice"))
    assert [(item["sample_rate"], tuple(item["sources"].shape)) for item in data] == [
        (8000, (2, 2, 1600)),
        (16000, (3, 1, 500)),
    ]
    data = StemFolder(tmp_path, sample_rate=8000, channels=1, duration=0.05)
    assert {tuple(item["mixture"].shape) for item in data} == {(1, 400)}


def test_wanted_sources_that_a_recording_lacks_are_silent(tmp_path):
    drums = write_sources(tmp_path / "a", ("drums",))
    write_sources(tmp_path / "b", ("bass", "drums"), 1)
    data = StemFolder(tmp_path, sources=["bass", "drums"])
    assert data.names == ("bass", "drums")
    assert torch.equal(data[0]["sources"], torch.cat([torch.zeros_like(drums), drums]))


def test_sources_in_a_folder_of_their_own(tmp_path):
    sources = write_sources(tmp_path / "scene" / "sources", ("music", "speech"), channels=2)
    write(tmp_path / "scene" / "mixture.flac", sources.sum(0))
    write_sources(tmp_path / "scene" / "dry", ("music", "speech"), 1)
    write_sources(tmp_path / "unmixed" / "sources", ("music", "speech"), 2)
    data = StemFolder(tmp_path)
    assert [item["id"] for item in data] == ["scene", "unmixed"]
    assert torch.equal(data[0]["sources"], sources)
    assert torch.equal(data[0]["mixture"], sources.sum(0))


def test_what_is_no_recording_is_passed_over(tmp_path):
    write_sources(tmp_path / "song", ("drums", "voice"))
    write_sources(tmp_path / "song" / "takes", ("drums", "voice"))
    write_sources(tmp_path / ".trash", ("drums",))
    write(tmp_path / "song" / "._drums.wav", noise(1))
    write(tmp_path / "stray.wav", noise(1))
    (tmp_path / "song" / "notes.txt").write_text("words")
    (tmp_path / "empty").mkdir()
    (tmp_path / "circle").mkdir()
    (tmp_path / "circle" / "back").symlink_to(tmp_path, target_is_directory=True)
    data = StemFolder(tmp_path)
    assert sorted(data.names) == ["drums", "voice"]
    assert len(data) == 1


def test_a_split_is_a_folder(tmp_path):
    write_sources(tmp_path / "train" / "a", ("drums", "voice"))
    write_sources(tmp_path / "test" / "b", ("drums", "voice"))
    assert [item["id"] for item in StemFolder(tmp_path, "test")] == ["test/b"]


def test_bad_recordings_are_named_or_left_out(tmp_path):
    write_sources(tmp_path / "a", ("drums",))
    write(tmp_path / "a" / "drums.flac", noise(1))
    write(tmp_path / "b" / "mixture.wav", noise(1))
    write_sources(tmp_path / "c", ("drums", "voice"))
    with pytest.raises(ValueError, match=r"a: must contain each source once, got drums.flac, drums.wav"):
        StemFolder(tmp_path)
    (tmp_path / "a" / "drums.flac").unlink()
    with pytest.raises(ValueError, match=r"b: must contain sources beside mixture.wav"):
        StemFolder(tmp_path)
    with pytest.warns(UserWarning, match="1 of 3 recordings are left out"):
        assert [item["id"] for item in StemFolder(tmp_path, on_error="skip")] == ["a", "c"]


def test_a_folder_without_recordings(tmp_path):
    with pytest.raises(ValueError, match="holds no recording"):
        StemFolder(tmp_path)


@pytest.mark.parametrize("split", [None, "valid"])
def test_mixtures_and_sources_under_one_name(tmp_path, split):
    folder = tmp_path / (split or "")
    parts = write_speakers(folder, "0001", {"noisy": ("noise", "speech")})
    data = MixtureFolder(tmp_path, split, mixture_folder="noisy", source_folders=["speech", "noise"])
    assert data.names == ("speech", "noise")
    assert data[0]["id"] == "valid/0001" if split else "0001"
    assert torch.equal(data[0]["sources"], torch.stack([parts["speech"], parts["noise"]]))
    assert torch.equal(data[0]["mixture"], parts["speech"] + parts["noise"])


def test_sources_of_other_names_are_missed(tmp_path):
    write_speakers(tmp_path, "0001", {"mix": ("s1", "s2")})
    (tmp_path / "s2" / "0001.wav").rename(tmp_path / "s2" / "0002.wav")
    with pytest.raises(FileNotFoundError, match=r"s2/0001.wav: does not exist"):
        MixtureFolder(tmp_path)
    with pytest.raises(FileNotFoundError, match="noisy: does not exist; it must contain the mixtures"):
        MixtureFolder(tmp_path, mixture_folder="noisy")
