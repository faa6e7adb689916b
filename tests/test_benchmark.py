"""The benchmark: the command runs, and both sides of a row compute the same."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[1] / "recipes" / "benchmark"
sys.path.append(str(FOLDER))

pytest.importorskip("librosa")
from rows import ROWS  # noqa: E402 - found through the path above

# At least three of the shortest periods of Repet.
SECONDS = 2.5


def test_names_of_rows_are_unique():
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")  # norbert's own use of SciPy
@pytest.mark.parametrize("row", [row for row in ROWS if row.deviation], ids=lambda row: row.name)
def test_ours_and_the_peer_compute_the_same(row):
    for package in row.peer_packages:
        if importlib.util.find_spec(package.replace("scikit-learn", "sklearn")) is None:
            pytest.skip(f"needs {package}")
    inputs = row.prepare(SECONDS)
    with torch.inference_mode():
        ours = row.ours(*inputs.ours, **inputs.keywords)
        assert row.deviation(ours, row.peer(*inputs.peer)) < row.tolerance


@pytest.mark.slow
def test_command_writes_a_table_and_all_figures(tmp_path):
    command = [sys.executable, FOLDER / "run.py", "--only", "mix_as_estimate", "--repeats", "1", "--seconds", "0.5"]
    subprocess.run([*command, "--output", tmp_path], check=True, capture_output=True)

    report = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    (result,) = report["rows"]
    assert {"date", "commit", "cpu", "cores", "threads", "device", "versions"} <= set(report["environment"])
    assert result["ratio"] == result["seconds"]["peer"]["median"] / result["seconds"]["ours"]["median"]
    assert result["real_time_factor"] == 0.5 / result["seconds"]["ours"]["median"]
    assert result["deviation"] == 0.0
    # Two copies of half a second of stereo, in float32; the allocator and the operating system add or spare pages.
    copies = 2 * 2 * 22050 * 4
    least = 0.5 * copies if sys.platform == "linux" else 0
    for side in ("ours", "peer"):
        assert least <= result["peak_memory_bytes"][side] < 20 * copies

    lines = (tmp_path / "results.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 3
    assert len({line.count("|") for line in rows}) == 1
    assert rows[-1].startswith("| `mix_as_estimate` | 0.5 s,")
    assert lines[-1].startswith("Faster than the peer in ")
