"""FUSS: always four sources, with missing ones silent."""

import pytest
import torch
from data.layouts import write, write_sources

from torchsep.data.fuss import FUSS

NAMES = ("background0", "foreground0", "foreground1", "foreground2")


@pytest.fixture
def examples(tmp_path):
    """The root, and the sources of mixtures with none to three foregrounds."""
    made, lines = [], []
    for number in range(4):
        name, names = f"eval/example{number:05}", NAMES[: 1 + number]
        sources = write_sources(tmp_path / f"{name}_sources", [f"{sound}_sound" for sound in names], number)
        write(tmp_path / f"{name}.wav", sources.sum(0))
        made.append(sources)
        lines.append("\t".join([f"{name}.wav", *(f"{name}_sources/{sound}_sound.wav" for sound in names)]))
    (tmp_path / "eval_example_list.txt").write_text("\n".join(lines) + "\n\n")
    return tmp_path, made


@pytest.mark.parametrize("split", ["test", "eval"])
def test_missing_sources_are_silent(examples, split):
    root, made = examples
    data = FUSS(root, split)
    assert data.names == NAMES
    assert [item["id"] for item in data] == [f"eval/example{number:05}" for number in range(4)]
    for item, sources in zip(data, made, strict=True):
        assert item["sources"].shape == (4, 1, 1600)
        assert torch.equal(item["sources"][: len(sources)], sources)
        assert not item["sources"][len(sources) :].any()
        assert torch.equal(item["mixture"], sources.sum(0))


def test_foregrounds_as_one(examples):
    root, made = examples
    data = FUSS(root, "test", sources={"background": ["background0"], "foreground": ["*"]})
    assert torch.equal(data[3]["sources"][1], made[3][1:].sum(0))
    assert not data[0]["sources"][1].any()


def test_missing_lists_are_named(examples):
    with pytest.raises(
        FileNotFoundError, match=r"validation_example_list.txt: does not exist; root must be the folder"
    ):
        FUSS(examples[0], "valid")


def test_unknown_sources_are_named(examples):
    root, _ = examples
    path = root / "eval_example_list.txt"
    path.write_text(path.read_text().replace("foreground2", "foreground7"))
    with pytest.raises(ValueError, match=r"eval/example00003 must have sources .*, got .'foreground7'"):
        FUSS(root, "test")
    with pytest.warns(UserWarning, match="1 of 4 recordings are left out"):
        assert len(FUSS(root, "test", on_error="skip")) == 3
