"""Validation and training of hyper-parameters."""

import copy
import math
from typing import ClassVar

import pytest
import torch

from torchsep.checkpoint import load, save
from torchsep.separators import HPSS, HighLowPassFilter, Interval, Separator


class Gain(Separator):
    """Multiply by a number from -1 to 3."""

    trainable_parameters: ClassVar = {"gain": Interval(-1.0, 3.0)}

    def __init__(self, gain=1.0, *, sample_rate, trainable=()):
        super().__init__(sample_rate=sample_rate, trainable=trainable)
        self.gain = gain

    def separate(self, mixture, **required):
        return (mixture * self.gain)[:, None]


@pytest.mark.parametrize(
    "interval", [Interval(0.0), Interval(1.0), Interval(-2.0), Interval(0.0, 1.0), Interval(-3, 5)]
)
def test_values_survive_the_way_to_free_and_back(interval):
    top = 10000.0 if math.isinf(interval.high) else interval.high - interval.low
    values = [interval.low + top * share for share in (1e-4, 1e-2, 0.1, 0.5, 0.9, 0.999)]
    for value in values:
        free = interval.to_free(value, "x")
        assert free.isfinite()
        assert interval.from_free(free.double()).item() == pytest.approx(value, rel=1e-5, abs=1e-6 * top)
    pair = interval.to_free(values[1:3], "x")
    assert pair.shape == (2,)
    assert interval.from_free(pair.double()).tolist() == pytest.approx(values[1:3], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("interval", [Interval(0.0), Interval(1.0), Interval(0.0, 1.0), Interval(-3.0, 5.0)])
def test_no_free_parameter_leaves_the_interval(interval):
    free = torch.linspace(-80, 80, 161)
    values = interval.from_free(free)
    assert (values >= interval.low).all()
    assert (values <= interval.high).all()
    assert (values.diff() >= 0).all()
    assert (interval.from_free(torch.linspace(-8, 8, 99)).diff() > 0).all()


def test_the_gradient_has_the_sign_of_the_value():
    for interval in (Interval(1.0), Interval(0.0, 1.0)):
        free = torch.linspace(-5, 5, 11, dtype=torch.float64, requires_grad=True)
        interval.from_free(free).sum().backward()
        assert (free.grad > 0).all()
        assert torch.autograd.gradcheck(interval.from_free, free)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1.0, r"gain must be above -1 and below 3 to be trainable, got -1\.0"),
        (3.0, r"gain must be above -1 and below 3 to be trainable, got 3\.0"),
        (-1.5, r"gain must be at least -1, got -1\.5"),
        (3.5, r"gain must be at most 3, got 3\.5"),
        ("1", "gain must be a number, got '1'"),
        (True, "gain must be a number, got True"),
        (math.nan, "gain must be finite, got nan"),
        ((1.0, 4.0), "gain must be"),
    ],
)
def test_values_refused(value, message):
    with pytest.raises(ValueError, match=message):
        Gain(value, sample_rate=8000, trainable=("gain",))


def test_bounds_are_allowed_where_nothing_is_learned():
    assert [Gain(gain, sample_rate=8000).gain for gain in (-1.0, 3)] == [-1.0, 3]
    assert not list(Gain(3.0, sample_rate=8000).parameters())
    assert Gain(3.0, sample_rate=8000).state_dict() == {}


def test_plain_values_are_stored_unchanged():
    separator = HPSS(margin=(1, 2), power=3, sample_rate=8000)
    assert separator.power == 3
    assert type(separator.power) is int
    assert separator.margin == (1, 2)
    separator.power = 5.0
    assert separator.config["power"] == 5.0
    with pytest.raises(ValueError, match="power must be at least 0, got -5"):
        separator.power = -5
    assert separator.power == 5.0


def test_names_in_the_state_dict():
    separator = HPSS(margin=(1.5, 2.0), sample_rate=8000, trainable=("power", "margin"))
    assert {name: tuple(value.shape) for name, value in separator.state_dict().items()} == {
        "free_power": (),
        "free_margin": (2,),
    }
    assert all(parameter.dtype == torch.float32 for parameter in separator.parameters())
    assert set(HPSS(sample_rate=8000, trainable=["power"]).state_dict()) == {"free_power"}


def test_setting_a_trainable_value_starts_it_anew():
    separator = Gain(0.5, sample_rate=8000, trainable=("gain",))
    separator.gain = 2.0
    assert separator.gain.item() == pytest.approx(2.0, rel=1e-6)
    assert isinstance(separator.free_gain, torch.nn.Parameter)
    assert len(list(separator.parameters())) == 1


def test_the_config_shows_current_values():
    separator = Gain(0.5, sample_rate=8000, trainable=("gain",))
    assert separator.config == {
        "name": "gain",
        "gain": pytest.approx(0.5),
        "sample_rate": 8000,
        "trainable": ["gain"],
    }
    assert isinstance(separator.config["gain"], float)
    with torch.no_grad():
        separator.free_gain += 1
    assert separator.config["gain"] == pytest.approx(separator.gain.item())
    assert separator.config["gain"] > 0.6
    assert f"gain={separator.config['gain']}" in repr(separator)


def test_gradients_reach_the_free_parameter():
    separator = Gain(0.5, sample_rate=8000, trainable=("gain",))
    mixture = torch.ones(2, 1, 5)
    separator(mixture).sum().backward()
    slope = torch.autograd.grad(separator.gain, separator.free_gain)[0]
    assert separator.free_gain.grad.item() == pytest.approx(10 * slope.item(), rel=1e-5)


def test_copies_have_separate_parameters():
    separator = Gain(0.5, sample_rate=8000, trainable=("gain",))
    twin = copy.deepcopy(separator)
    with torch.no_grad():
        twin.free_gain += 1
    assert separator.gain.item() == pytest.approx(0.5, rel=1e-6)
    twin.load_state_dict(separator.state_dict())
    assert torch.equal(twin.gain, separator.gain)


def test_values_follow_the_type_of_the_module():
    separator = HighLowPassFilter(1000.0, sample_rate=8000, trainable=("cutoff_hz",))
    assert separator.cutoff_hz.item() == pytest.approx(1000.0, rel=1e-6)
    assert separator.double().cutoff_hz.dtype == torch.float64


@pytest.mark.parametrize("free", [-30.0, -200.0, 30.0])
@pytest.mark.parametrize("name", ["margin", "power"])
def test_what_was_learned_far_out_is_still_a_value(name, free, tmp_path):
    """Softplus rounds to its bound in single precision; what is saved there must be built again."""
    separator = HPSS(margin=1.5, sample_rate=8000, trainable=(name,))
    with torch.no_grad():
        getattr(separator, f"free_{name}").fill_(free)
    again = load(save(separator, tmp_path / "far"))
    assert again.names == separator.names
    assert torch.equal(getattr(again, f"free_{name}"), getattr(separator, f"free_{name}"))
