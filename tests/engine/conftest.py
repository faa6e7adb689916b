"""Fixtures of training: recordings, and uninterrupted runs."""

import pytest
from engine.small_training import recordings, run


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return recordings(tmp_path_factory.mktemp("speakers"))


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """The folders of uninterrupted runs, by their overrides."""
    made = {}

    def folder(*more):
        if more not in made:
            made[more] = tmp_path_factory.mktemp("whole") / "run"
            run(root, made[more], *more)
        return made[more]

    return folder
