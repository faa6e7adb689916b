"""The README tells the truth: its examples run, and its own separator keeps every promise."""

import importlib
import re
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from contract.cases import SMALL, Case, registered
from contract.promises import PARAMETERS
from typer.testing import CliRunner

import torchsep
from torchsep.cli.main import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
EXAMPLE = next(block for block in BLOCKS if "class CentreChannel" in block)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    folder = tmp_path_factory.mktemp("example")
    (folder / "centre.py").write_text(EXAMPLE)
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("centre").CentreChannel
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("centre")


@pytest.fixture
def example_case(example, compile_backend):
    with registered(example) as name:
        yield Case(name, SMALL, compile_backend=compile_backend)


@pytest.mark.parametrize("promise", PARAMETERS)
def test_separator_example_keeps_every_promise(promise, example_case, device):
    promise(example_case, device)


def test_separator_example_is_fifteen_lines():
    assert len(EXAMPLE.strip().splitlines()) <= 15


def test_separator_example_runs_from_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("centre.py").write_text(EXAMPLE)
    centre = torch.sin(0.1 * torch.arange(8000))
    soundfile.write("song.wav", torch.stack((centre, centre), dim=1).numpy(), 8000)
    result = CliRunner().invoke(app, ["separate", "song.wav", "-s", "centre.py:CentreChannel"])
    torchsep.registry._REGISTERED.pop("centre_channel")
    assert result.exit_code == 0, result.output
    energy = {name: (soundfile.read(f"separated/song/{name}.wav")[0] ** 2).sum() for name in ("centre", "sides")}
    assert energy["centre"] > 1000 * energy["sides"]


def test_python_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in BLOCKS:
        if block is not EXAMPLE:
            exec(compile(block, "README.md", "exec"), names)  # noqa: S102 - that is the test
    assert names["estimates"].shape[:2] == (16, 2)


def test_every_separator_is_in_the_tables():
    table = README.split("## What there is")[1].split("## Coming")[0]
    missing = [name for name in torchsep.list_separators() if f"`{name}`" not in table]
    assert not missing


def test_links_lead_somewhere():
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in target]
    assert targets
    assert not [target for target in targets if not (ROOT / target).exists()]


def test_commands_are_known():
    used = set(re.findall(r"(?m)(?:^|bin/|`)torchsep ([a-z]+)", README))
    known = {command.name for command in app.registered_commands}
    assert {"separate", "list", "info", "demo"} <= used <= known
