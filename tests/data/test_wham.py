"""Mixtures and sources of each task of WHAM!."""

import pytest
import torch
from data.layouts import write_speakers

from torchsep.data.wham import WHAM

MIXTURES = {"mix_clean": ("s1", "s2"), "mix_both": ("noise", "s1", "s2"), "mix_single": ("noise", "s1")}


@pytest.fixture
def scene(tmp_path):
    return tmp_path, write_speakers(tmp_path / "wav8k" / "min" / "tt", "a_1.0_b_-1.0", MIXTURES)


@pytest.mark.parametrize(
    ("task", "mixture", "names"),
    [
        ("sep_clean", "mix_clean", ("s1", "s2")),
        ("sep_noisy", "mix_both", ("s1", "s2")),
        ("enhance_single", "mix_single", ("s1",)),
        ("enhance_both", "mix_both", ("mix_clean",)),
    ],
)
def test_tasks(scene, task, mixture, names):
    root, parts = scene
    parts = {**parts, "mix_clean": parts["s1"] + parts["s2"]}
    data = WHAM(root, "test", task=task)
    item = data[0]
    assert item["id"] == "tt/a_1.0_b_-1.0"
    assert data.names == names
    assert torch.equal(item["sources"], torch.stack([parts[name] for name in names]))
    assert torch.equal(item["mixture"], sum(parts[name] for name in MIXTURES[mixture]))


@pytest.mark.parametrize(
    ("task", "names"),
    [("sep_noisy", ("s1", "s2")), ("enhance_single", ("s1",)), ("enhance_both", ("mix_clean",))],
)
def test_noise_can_be_had(scene, task, names):
    root, parts = scene
    data = WHAM(root, "tt", task=task, sources=[*names, "noise"])
    assert data.names == (*names, "noise")
    assert torch.equal(data[0]["sources"][-1], parts["noise"])
    assert torch.equal(data[0]["sources"].sum(0), data[0]["mixture"])


def test_groups(scene):
    root, parts = scene
    data = WHAM(root, "tt", task="sep_noisy", sources={"speech": ["s1", "s2"], "noise": ["noise"]})
    assert torch.equal(data[0]["sources"][0], parts["s1"] + parts["s2"])


def test_there_is_no_noise_in_clean_mixtures(scene):
    with pytest.raises(ValueError, match="sources must be made of s1, s2, got 'noise'"):
        WHAM(scene[0], "tt", sources=["s1", "noise"])


def test_unknown_tasks_are_refused(scene):
    with pytest.raises(ValueError, match=r"task must be one of sep_clean, .*, got 'sep_nosy'; did you mean sep_noisy"):
        WHAM(scene[0], "tt", task="sep_nosy")
