"""The README and the documentation: examples run, links and commands exist, and all separators are listed."""

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
from torchsep.engine import compose

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.name: path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
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
    energy = {
        name: (soundfile.read(f"separated/centre_channel/song/{name}.wav")[0] ** 2).sum()
        for name in ("centre", "sides")
    }
    assert energy["centre"] > 1000 * energy["sides"]


def test_python_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in BLOCKS:
        if block is not EXAMPLE:
            exec(compile(block, "README.md", "exec"), names)  # noqa: S102 - that is the test
    assert names["estimates"].shape[:2] == (16, 2)


def test_every_separator_is_listed():
    table = PAGES["separators.md"].read_text(encoding="utf-8")
    assert [name for name in torchsep.list_separators() if f"`{name}`" not in table] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = PAGES[page].read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    assert [target for target in targets if not (PAGES[page].parent / target).exists()] == []


def test_commands_are_known():
    text = "".join(path.read_text(encoding="utf-8") for path in PAGES.values())
    used = set(re.findall(r"(?m)(?:^|bin/|`)torchsep ([a-z]+)", text))
    known = {command.name for command in app.registered_commands}
    assert used == known


@pytest.mark.parametrize("page", [name for name in PAGES if name != "README.md"])
def test_overrides_in_the_documentation_exist(page):
    text = PAGES[page].read_text(encoding="utf-8")
    for group, name in set(re.findall(r"(?<![.\w])(experiment|data|separator)=([a-z0-9_]+)(?![\w./])", text)):
        compose([f"{group}={name}"])
