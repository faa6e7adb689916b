"""LibriMix, with tables from any machine."""

import csv

import pytest
import torch
from data.layouts import noise, write, write_speakers

from torchsep.data.librimix import LibriMix

SPEAKERS = ("s1", "s2", "s3")


def make(
    folder, split="dev", speakers=2, written_at="/somewhere/else", extra=False, names=("1-2-3_4-5-6", "7-8-9_1-2-3")
):
    """Write a small LibriMix with tables of another machine; return the parts of each mixture."""
    version = folder / "wav8k" / "min"
    speech = SPEAKERS[:speakers]
    mixtures = {"mix_clean": speech, "mix_both": (*speech, "noise"), "mix_single": ("s1", "noise")}
    (version / "metadata").mkdir(parents=True, exist_ok=True)
    parts = {name: write_speakers(version / split, name, mixtures, seed) for seed, name in enumerate(names)}
    for mixture, members in mixtures.items():
        columns = [f"source_{member[1]}_path" if member != "noise" else "noise_path" for member in members]
        with (version / "metadata" / f"mixture_{split}_{mixture}.csv").open("w", newline="") as stream:
            table = csv.writer(stream)
            head = ["mixture_ID", *(["original_mixture_ID"] if extra else []), "mixture_path", *columns, "length"]
            table.writerow(head)
            for name in names:
                paths = [
                    f"{written_at}/{folder.name}/wav8k/min/{split}/{part}/{name}.wav" for part in (mixture, *members)
                ]
                table.writerow([name, *(["original"] if extra else []), *paths, 1600])
    return parts


@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("written_at", ["/somewhere/else", ".", "C:\\data\\sets"])
def test_tables_of_other_machines(tmp_path, written_at, extra):
    parts = make(tmp_path / "Libri2Mix", written_at=written_at, extra=extra)
    data = LibriMix(tmp_path / "Libri2Mix", "valid")
    assert data.names == ("s1", "s2")
    for item, (name, sources) in zip(data, parts.items(), strict=True):
        assert item["id"] == f"dev/{name}"
        assert torch.equal(item["sources"], torch.stack([sources["s1"], sources["s2"]]))
        assert torch.equal(item["mixture"], sources["s1"] + sources["s2"])


@pytest.mark.parametrize(
    ("mixture_type", "speakers"), [("mix_clean", SPEAKERS), ("mix_both", SPEAKERS), ("mix_single", SPEAKERS[:1])]
)
def test_mixture_types(tmp_path, mixture_type, speakers):
    parts = make(tmp_path / "Libri3Mix", speakers=3)["1-2-3_4-5-6"]
    data = LibriMix(tmp_path, "dev", num_speakers=3, mixture_type=mixture_type)  # the folder above
    assert data.names == speakers
    assert torch.equal(data[0]["sources"], torch.stack([parts[name] for name in speakers]))
    if mixture_type != "mix_clean":
        data = LibriMix(tmp_path, "dev", num_speakers=3, mixture_type=mixture_type, sources=[*speakers, "noise"])
        assert torch.equal(data[0]["sources"][-1], parts["noise"])
        assert torch.equal(data[0]["sources"].sum(0), data[0]["mixture"])


@pytest.mark.parametrize(
    ("split", "folder"),
    [
        ("train", "train-360"),
        ("train-100", "train-100"),
        ("train-360", "train-360"),
        ("valid", "dev"),
        ("test", "test"),
    ],
)
def test_splits(tmp_path, split, folder):
    for name in ("train-360", "train-100", "dev", "test"):
        make(tmp_path, name, names=("1_2",))
    assert [item["id"] for item in LibriMix(tmp_path, split)] == [f"{folder}/1_2"]


def test_files_below_the_root_come_first(tmp_path):
    make(tmp_path / "old" / "Libri2Mix", names=("1_2",), written_at=tmp_path / "old")
    here = make(tmp_path / "new" / "Libri2Mix", names=("1_2",), written_at=tmp_path / "old")
    write(tmp_path / "old/Libri2Mix/wav8k/min/dev/s1/1_2.wav", noise(77))
    data = LibriMix(tmp_path / "new", "dev")
    assert torch.equal(data[0]["sources"][0], here["1_2"]["s1"])
    for part in ("s1", "s2", "mix_clean"):
        (tmp_path / f"new/Libri2Mix/wav8k/min/dev/{part}/1_2.wav").unlink()
    data = LibriMix(tmp_path / "new", "dev")
    assert torch.equal(data[0]["sources"][0], noise(77))


def test_missing_files_are_named_below_the_root(tmp_path):
    make(tmp_path, names=("1_2",))
    path = tmp_path / "wav8k/min/dev/s2/1_2.wav"
    path.unlink()
    with pytest.raises(FileNotFoundError) as caught:
        LibriMix(tmp_path, "dev")
    assert str(caught.value).startswith(f"{path}: does not exist")


def test_missing_tables_are_named(tmp_path):
    make(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"mixture_train-360_mix_clean.csv: does not exist; check split, "):
        LibriMix(tmp_path, "train")


def test_tables_without_a_speaker_are_refused(tmp_path):
    make(tmp_path, speakers=2)
    with pytest.raises(
        ValueError, match=r"mixture_dev_mix_clean.csv: must have the columns source_3_path in every line"
    ):
        LibriMix(tmp_path, "dev", num_speakers=3)


def test_options_are_checked(tmp_path):
    with pytest.raises(ValueError, match="mixture_type must be one of mix_clean, mix_both, mix_single, got 'clean'"):
        LibriMix(tmp_path, "dev", mixture_type="clean")
    with pytest.raises(ValueError, match="num_speakers must be 2 or 3, got 1"):
        LibriMix(tmp_path, "dev", num_speakers=1)
