"""Metadata in the ``about`` field."""

import pytest
import torch
from checkpoint.examples import trained

from torchsep.checkpoint import read_header, save
from torchsep.separators import MixAsEstimate

METRIC = {"name": "SI-SDR improvement", "value": 9, "unit": "dB", "definition": "mean over items", "data": "test"}


def test_about_is_stored(tmp_path):
    about = {
        "summary": "Two speakers.",
        "training": {"data": "speech", "hours": 2.5},
        "metrics": [METRIC],
        "licences": {"weights": "MIT"},
        "references": ["A. Author, 2020."],
        "own": [1, {"a": None}],
    }
    assert read_header(save(trained(), tmp_path / "one", about=about))["about"] == about


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ([], "about must be a mapping, got"),
        ({"summary": 3}, "summary in about must be a sentence, got 3"),
        ({"training": "long"}, "training in about must be a mapping of"),
        ({"metrics": {}}, "metrics in about must be a list"),
        ({"metrics": [3]}, "metrics in about must have name, value and definition, got 3"),
        ({"metrics": [{**METRIC, "value": "9"}]}, "value of a metric in about must be a number, got '9'"),
        ({"metrics": [{"name": "SDR", "value": 9.0}]}, "must have name, value and definition"),
        ({"licences": "MIT"}, "licences in about must be a mapping"),
        ({"licences": {"weights": None}}, "licences in about must be texts, got None"),
        ({"references": [1]}, "references in about must be texts, got 1"),
    ],
)
def test_standard_fields_are_checked(about, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save(trained(), tmp_path / "one", about=about)


@pytest.mark.parametrize("about", [{"x": torch.zeros(1)}, {"x": float("nan")}, {"x": {1, 2}}, {("a",): 1}])
def test_values_that_json_cannot_represent_are_refused(about, tmp_path):
    with pytest.raises(ValueError, match="about and arguments must be plain values that JSON can hold"):
        save(MixAsEstimate(2, sample_rate=8000), tmp_path / "one", about=about)
    assert [path.name for path in tmp_path.iterdir()] == ["shipped"]
