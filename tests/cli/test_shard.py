"""`torchsep shard`."""

import pytest
import torch
import typer
from typer.testing import CliRunner

from torchsep.cli.shard import shard
from torchsep.data.scenes import Scenes
from torchsep.data.sharded_items import ShardedItems

pytest.importorskip("webdataset")

app = typer.Typer()
app.command()(shard)

SCENES = ("data=scenes", "data.num_items=3", "data.duration=0.5", "data.sample_rate=8000")


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.mark.parametrize("options", [(), ("--format", "wav", "--workers", "2")])
def test_a_data_set_becomes_shards(tmp_path, options):
    result = run(*SCENES, "-o", tmp_path / "out", "--items-per-shard", 2, *options)
    assert result.exit_code == 0, result.output
    assert "2 of 2 shards are written" in result.output
    assert f"{tmp_path / 'out'}: 2 shards, 0." in result.output
    items, scenes = ShardedItems(tmp_path / "out"), Scenes(num_items=3, duration=0.5, sample_rate=8000)
    for item, scene in zip(items, scenes, strict=True):
        assert item["id"] == scene["id"]
        assert torch.allclose(item["sources"], scene["sources"], atol=2**-24, rtol=0)


def test_an_error_says_how_to_go_on(tmp_path, monkeypatch):
    def broken(self, index):
        if index == 2:
            raise OSError("disk on fire")
        return original(self, index)

    original = Scenes.__getitem__
    monkeypatch.setattr(Scenes, "__getitem__", broken)
    result = run(*SCENES, "-o", tmp_path, "--items-per-shard", 1)
    assert result.exit_code == 1
    message = "torchsep: disk on fire; 2 of 3 shards are written; the same command writes the others"
    assert message in result.output
    monkeypatch.setattr(Scenes, "__getitem__", original)
    assert run(*SCENES, "-o", tmp_path, "--items-per-shard", 1).exit_code == 0
    assert len(list(ShardedItems(tmp_path))) == 3


def test_an_interrupt_says_how_to_go_on(tmp_path, monkeypatch):
    def interrupted(self, index):
        if index == 1:
            raise KeyboardInterrupt
        return original(self, index)

    original = Scenes.__getitem__
    monkeypatch.setattr(Scenes, "__getitem__", interrupted)
    result = run(*SCENES, "-o", tmp_path, "--items-per-shard", 1)
    assert result.exit_code == 130
    assert "interrupted; 1 of 3 shards are written; the same command writes the others" in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shard-000000.tar", "shards.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("data.num_items=3",), "torchsep: "),
        (("trainer.devices=1",), "data must be chosen, as in data=scenes"),
        (("data=nothing",), "nothing"),
        (("data=dynamic_mixing",), "data is missing required values: data.root=..."),
        (("data=dynamic_mixing", "data.root=/no/where"), "/no/where: is no folder; root must hold the recordings"),
        ((*SCENES, "data.seed=x"), "torchsep: "),
        ((*SCENES, "data.split=dev"), "split must be one of train, valid, test, got 'dev'"),
        ((*SCENES, "--format", "mp3"), "format must be one of flac, wav, got 'mp3'"),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    result = run(*arguments, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()
