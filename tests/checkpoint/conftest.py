"""Fixtures of the checkpoint tests."""

import pytest
from checkpoint.examples import EXAMPLES

from torchsep import registry
from torchsep.checkpoint import locations

# Imported by tests under its full name; the collector would import it again under another name.
collect_ignore = ["examples.py"]


@pytest.fixture(autouse=True)
def shipped(tmp_path, monkeypatch):
    """An empty folder instead of the shipped checkpoints, with the example separators registered."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr(locations, "resource_folder", lambda name: folder)
    monkeypatch.setattr(registry, "_REGISTERED", {**registry._REGISTERED, **EXAMPLES})
    return folder
