"""Common behaviour of recording data sets: sums, excerpts, sample rates, channels and damaged files."""

import numpy as np
import pytest
import soundfile
import torch
from data.layouts import RATE, noise, write
from data.songs import NAMES, Songs
from torch.utils.data import DataLoader

from torchsep import audio
from torchsep.data.recordings import Entry


class Unmixed(Songs):
    """The same without mixture files."""

    def entries(self):
        return [Entry(entry.id, None, entry.sources) for entry in super().entries()]


def test_items(songs):
    root, stems = songs
    data = Songs(root, None)
    assert len(data) == 3
    assert data.names == NAMES == data.names_of(2)
    assert data.ids == ["a", "b", "c"]
    for item, (name, sources) in zip(data, stems.items(), strict=True):
        assert item["id"] == name
        assert item["sample_rate"] == RATE
        assert item["mixture"].dtype == item["sources"].dtype == torch.float32
        assert torch.equal(item["sources"], sources)
        assert torch.equal(item["mixture"], sources.sum(0))
    assert torch.equal(data[-1]["sources"], stems["c"])
    with pytest.raises(IndexError):
        data[3]


def test_the_mixture_is_the_sum_where_there_is_no_file(songs):
    root, stems = songs
    data = Unmixed(root, None, sources=["voice"])
    assert torch.equal(data[0]["mixture"], stems["a"].sum(0))
    assert torch.equal(data[0]["sources"], stems["a"][2:])


def test_sources_are_picked_in_order(songs):
    root, stems = songs
    data = Songs(root, None, sources=["voice", "bass"])
    assert data.names == ("voice", "bass")
    assert torch.equal(data[1]["sources"], stems["b"][[2, 0]])
    assert torch.equal(data[1]["mixture"], stems["b"].sum(0))


@pytest.mark.parametrize("rest", [["bass", "drums"], ["*"]])
def test_sources_are_summed_in_groups(songs, rest):
    root, stems = songs
    data = Songs(root, None, sources={"singing": ["voice"], "accompaniment": rest})
    assert data.names == ("singing", "accompaniment")
    assert torch.equal(data[0]["sources"][0], stems["a"][2])
    assert torch.equal(data[0]["sources"][1], stems["a"][0] + stems["a"][1])


def test_files_that_nobody_wants_are_not_read(songs):
    root, _ = songs
    for name in "abc":
        (root / name / "drums.wav").unlink()
    assert len(Songs(root, None, sources=["voice"])) == 3


@pytest.mark.parametrize("sample_rate", [None, 11025, 16000, 4000])
def test_consecutive_excerpts_make_up_the_whole(songs, sample_rate):
    root, stems = songs
    data = Songs(root, None, duration=0.08, excerpts="all", sample_rate=sample_rate)  # 640 samples
    starts = {"a": ("0", "0.08", "0.16"), "b": ("0", "0.08", "0.16", "0.24"), "c": ("0", "0.08")}
    assert data.ids == [f"{name}#{start}" for name in starts for start in starts[name]]
    assert [item["id"] for item in data] == data.ids
    assert {item["sources"].shape for item in data} == {(3, 2, round(0.08 * (sample_rate or RATE)))}
    for name, sources in stems.items():
        whole = audio.resample(sources, RATE, sample_rate or RATE)
        joined = torch.cat([item["sources"] for item in data if item["id"].startswith(name)], dim=-1)
        assert (joined[..., : whole.shape[-1]] - whole).abs().max() < 1e-6
        beyond = whole.shape[-1] + (150 if sample_rate else 0)  # the filter rings on after the end
        assert not joined[..., beyond:].any()
        mixture = torch.cat([item["mixture"] for item in data if item["id"].startswith(name)], dim=-1)
        assert (mixture - joined.sum(0)).abs().max() < 1e-6


def test_random_excerpts_lie_in_the_files(songs):
    root, stems = songs
    data = Songs(root, None, duration=0.125)  # as many samples as 1000
    starts = set()
    for epoch in range(40):
        data.set_epoch(epoch)
        for item, sources in zip(data, stems.values(), strict=True):
            assert item["id"] in stems
            assert item["sources"].shape == (3, 2, 1000)
            windows = torch.nn.functional.pad(sources, (0, max(0, 1000 - sources.shape[-1]))).unfold(-1, 1000, 1)
            same = (windows == item["sources"].unsqueeze(2)).all(-1).all(0).all(0)
            assert same.sum() == 1
            assert torch.equal(item["mixture"], item["sources"].sum(0))
            starts.add((item["id"], same.nonzero().item()))
    drawn = [start for name, start in starts if name == "b"]
    assert len(drawn) > 30
    assert min(drawn) < 150
    assert max(drawn) > 850
    assert [start for name, start in starts if name == "c"] == [0]


def test_the_first_and_the_last_place_are_drawn(songs):
    root, stems = songs
    data = Songs(root, None, duration=1599 / RATE, limit=1)
    places = [stems["a"][..., :1599], stems["a"][..., 1:]]
    drawn = set()
    for epoch in range(12):
        data.set_epoch(epoch)
        drawn.add([torch.equal(data[0]["sources"], place) for place in places].index(True))
    assert drawn == {0, 1}


def test_random_excerpts_depend_on_seed_and_epoch_alone(songs):
    root, _ = songs

    def drawn(seed, epoch):
        data = Songs(root, None, duration=0.02, seed=seed)
        data.set_epoch(epoch)
        return torch.stack([item["mixture"] for item in data])

    torch.manual_seed(1)
    first = drawn(0, 3)
    torch.manual_seed(2)
    assert torch.equal(drawn(0, 3), first)
    assert not torch.equal(drawn(0, 4), first)
    assert not torch.equal(drawn(1, 3), first)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_running_workers_see_the_epoch(songs):
    root, _ = songs
    data = Songs(root, None, duration=0.02)
    loader = DataLoader(data, batch_size=3, num_workers=1, persistent_workers=True)
    for epoch in (5, 6):
        data.set_epoch(epoch)
        batch = next(iter(loader))
        assert torch.equal(batch["sources"], torch.stack([item["sources"] for item in data]))


def test_only_the_part_wanted_is_decoded(songs, monkeypatch):
    root, _ = songs
    asked = []
    read = audio.read
    monkeypatch.setattr(audio, "read", lambda *args: asked.append(args[2]) or read(*args))
    Songs(root, None, duration=0.01)[0]
    assert asked == [0.01] * 4


def test_resampling(songs):
    root, stems = songs
    item = Songs(root, None, sample_rate=16000)[0]
    assert item["sample_rate"] == 16000
    assert (item["sources"] - audio.resample(stems["a"], RATE, 16000)).abs().max() < 1e-6
    assert Songs(root, None, sample_rate=5000, duration=0.1)[0]["sources"].shape == (3, 2, 500)


def test_one_channel_is_the_mean(songs):
    root, stems = songs
    item = Songs(root, None, channels=1)[0]
    assert torch.allclose(item["sources"], stems["a"].mean(1, keepdim=True), atol=1e-7)
    assert item["mixture"].shape == (1, 1600)


def test_one_channel_is_repeated_beside_two(songs):
    root, stems = songs
    mono = write(root / "a" / "bass.wav", noise(7))
    item = Songs(root, None, limit=1)[0]
    assert torch.equal(item["sources"][0], mono.expand(2, -1))
    assert torch.equal(item["sources"][1:], stems["a"][1:])
    with pytest.raises(ValueError, match=r"a/mixture.wav: must have 3 channels or one, got 2"):
        Songs(root, None, channels=3)


def test_limit(songs):
    root, _ = songs
    (root / "c" / "bass.wav").unlink()
    assert [item["id"] for item in Songs(root, None, limit=2)] == ["a", "b"]
    assert len(Songs(root, None, limit=2, duration=0.1, excerpts="all")) == 5


def test_plain_representation(songs):
    assert "split=None, sources=None, sample_rate=None" in repr(Songs(songs[0], None))


def test_an_impossible_rate_is_an_error(songs):
    root, _ = songs
    path = next(root.rglob("b*.wav"), None) or next(root.rglob("*.wav"))
    soundfile.write(path, np.zeros(1000), 2**31 - 1)
    with pytest.raises(ValueError, match="says 1000 samples at 2147483647 Hz, which cannot be right"):
        Songs(root, None)
