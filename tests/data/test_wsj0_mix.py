"""Two and three speakers in the folders of WSJ0-mix."""

import pytest
import torch
from data.layouts import write_speakers

from torchsep.data.wsj0_mix import WSJ0Mix

NAME = "011c0201_0.12345_20ga010m_-0.12345"


def make(root, speakers, version, split, seed=0):
    members = [f"s{number + 1}" for number in range(speakers)]
    sources = write_speakers(root / f"{speakers}speakers" / version / split, NAME, {"mix": members}, seed)
    return torch.stack([sources[member] for member in members])


@pytest.mark.parametrize("speakers", [2, 3])
def test_speakers(tmp_path, speakers):
    sources = make(tmp_path, speakers, "wav8k/min", "tr")
    data = WSJ0Mix(tmp_path, "train", num_speakers=speakers)
    assert data.names == ("s1", "s2", "s3")[:speakers]
    assert data[0]["id"] == f"tr/{NAME}"
    assert torch.equal(data[0]["sources"], sources)
    assert torch.equal(data[0]["mixture"], sources.sum(0))


@pytest.mark.parametrize(("split", "folder"), [("train", "tr"), ("valid", "cv"), ("test", "tt"), ("cv", "cv")])
def test_splits(tmp_path, split, folder):
    for seed, name in enumerate(("tr", "cv", "tt")):
        make(tmp_path, 2, "wav8k/min", name, seed)
    assert [item["id"] for item in WSJ0Mix(tmp_path, split)] == [f"{folder}/{NAME}"]


def test_versions(tmp_path):
    made = {
        (rate, mode): make(tmp_path, 2, f"wav{rate // 1000}k/{mode}", "tt", seed)
        for seed, (rate, mode) in enumerate([(8000, "min"), (8000, "max"), (16000, "min"), (16000, "max")])
    }
    for (rate, mode), sources in made.items():
        assert torch.equal(WSJ0Mix(tmp_path, "test", file_rate=rate, mode=mode)[0]["sources"], sources)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_speakers": 4}, "num_speakers must be 2 or 3, got 4"),
        ({"file_rate": 44100}, "file_rate must be 8000 or 16000, got 44100"),
        ({"mode": "mid"}, "mode must be one of min, max, got 'mid'"),
        ({"split": "dev"}, "split must be one of train, valid, test, tr, cv, tt, got 'dev'"),
    ],
)
def test_options_are_checked(tmp_path, options, message):
    make(tmp_path, 2, "wav8k/min", "tr")
    with pytest.raises(ValueError, match=message):
        WSJ0Mix(tmp_path, **{"split": "tr", **options})


def test_missing_folders_are_named(tmp_path):
    make(tmp_path, 2, "wav8k/min", "tr")
    with pytest.raises(FileNotFoundError, match="3speakers/wav8k/min/tr: is no folder"):
        WSJ0Mix(tmp_path, "tr", num_speakers=3)
    for path in (tmp_path / "2speakers/wav8k/min/tr/mix").iterdir():
        path.rename(tmp_path / path.name)
    (tmp_path / "2speakers/wav8k/min/tr/mix").rmdir()
    with pytest.raises(FileNotFoundError, match="min/tr/mix: does not exist"):
        WSJ0Mix(tmp_path, "tr")
