"""A wheel, installed anywhere, works without the repository."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PROGRAM = """
import torchsep
from torchsep.checkpoint import load
from torchsep.cli import main
from torchsep.resources import resource_folder
assert resource_folder("configs").parent == resource_folder("checkpoints").parent
assert str(resource_folder("configs")).startswith({site!r}), resource_folder("configs")
assert load("shipped").kernel_size == 5
main()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_wheel_holds_code_configs_and_checkpoints(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "torchsep/configs/config.yaml" in names
    assert "torchsep/configs/data/_recordings.yaml" in names
    assert "torchsep/checkpoints/README.md" in names
    assert "torchsep/docs/separators.md" in names  # which `torchsep list` shows
    assert "torchsep/py.typed" in names
    assert not [name for name in names if name.startswith(("tests", "recipes"))]


@pytest.mark.slow
def test_wheel_works_elsewhere(wheel, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    save = f"import torchsep; torchsep.save(torchsep.build('hpss', kernel_size=5, sample_rate=8000), {str(site)!r}"
    folder = site / "torchsep/checkpoints/shipped"
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(site)}
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    subprocess.run([sys.executable, "-c", f"{save} + '/torchsep/checkpoints/shipped/model')"], check=True, **options)
    program = PROGRAM.format(site=str(site))
    arguments = ["demo", "--duration", "3", "-s", "hpss"]
    result = subprocess.run([sys.executable, "-c", program, *arguments], check=True, **options)
    assert "SI-SDR" in result.stdout
    assert (tmp_path / "torchsep-demo/estimated_voice.wav").is_file()
