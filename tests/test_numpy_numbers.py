"""NumPy numbers are accepted where Python's are, and stored as those."""

import json

import numpy as np
import pytest
import torch
from contract.cases import CASES
from networks.cases import NETWORKS

from torchsep import build, load, save
from torchsep.functional import resample


def as_numpy(value, integer, real):
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return integer(value)
    if isinstance(value, float):
        return real(value)
    if isinstance(value, dict):
        return {key: as_numpy(item, integer, real) for key, item in value.items()}
    return type(value)(as_numpy(item, integer, real) for item in value)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize(("integer", "real"), [(np.int64, np.float64), (np.int16, np.float32)])
def test_every_separator_stores_python_numbers(case, integer, real):
    expected = build(case.name, **case.arguments).config
    found = build(case.name, **as_numpy(dict(case.arguments), integer, real)).config
    text = json.dumps(found)
    if real is np.float64:
        assert text == json.dumps(expected)
    assert build(json.loads(text)).config.keys() == expected.keys()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_stores_python_numbers(name):
    network = NETWORKS[name]()
    config = {key: value for key, value in network.config.items() if key not in {"name", "body", "filter_bank"}}
    parts = {key: getattr(network, key) for key in ("body", "filter_bank") if key in network.config}
    twin = type(network)(**as_numpy(config, np.int16, np.float64), **parts)
    assert json.dumps(twin.config) == json.dumps(network.config)


def test_a_separator_built_with_numpy_numbers_is_saved(tmp_path):
    separator = build("hpss", sample_rate=np.int64(8000), kernel_size=np.int64(17), power=np.float32(2))
    assert load(save(separator, tmp_path / "model")).config == separator.config
    assert [type(separator.config[name]) for name in ("sample_rate", "kernel_size", "power")] == [int, int, float]


def test_resampling_takes_numpy_rates():
    assert resample(torch.ones(1, 441), np.int64(44100), np.int32(48000)).shape == (1, 480)
    with pytest.raises(ValueError, match="from_rate must be a positive integer, got"):
        resample(torch.ones(1, 441), np.float64(44100.0), 48000)
