"""What all data sets of recordings share: sums, parts, rates, channels, and what becomes of bad files."""

import warnings
from dataclasses import dataclass

import pytest
import torch
from data.layouts import RATE, noise, write, write_sources
from torch.utils.data import DataLoader

from torchsep import audio
from torchsep.data.recordings import Entry, Recordings

NAMES = ("bass", "drums", "voice")


@dataclass(eq=False)
class Songs(Recordings):
    """Folders a, b, c of three stems and a mixture."""

    def entries(self):
        for folder in sorted(path for path in self.folder().iterdir() if path.is_dir()):
            files = {name: (folder / f"{name}.wav",) for name in NAMES}
            yield Entry(folder.name, folder / "mixture.wav", files)


class Unmixed(Songs):
    """The same without files of the mixtures."""

    def entries(self):
        return [Entry(entry.id, None, entry.sources) for entry in super().entries()]


@pytest.fixture
def songs(tmp_path):
    """The root, and the stems of each song."""
    lengths = {"a": 1600, "b": 2000, "c": 900}
    stems = {
        name: write_sources(tmp_path / name, NAMES, seed, "mixture", channels=2, samples=length)
        for seed, (name, length) in enumerate(lengths.items())
    }
    return tmp_path, stems


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


def test_plain_representation(songs):
    assert "split=None, sources=None, sample_rate=None" in repr(Songs(songs[0], None))
