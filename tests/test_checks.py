"""Argument checks and their messages."""

import math
from fractions import Fraction

import numpy as np
import pytest

from torchsep.checks import check_choice, check_integer, check_number, nearest


@pytest.mark.parametrize(
    ("word", "expected"),
    [("hps", "; did you mean hpss?"), ("HPSS", ""), ("reped", "; did you mean repet?"), ("xyz", ""), ("", "")],
)
def test_nearest(word, expected):
    assert nearest(word, ["hpss", "repet"]) == expected
    assert nearest(word, []) == ""


@pytest.mark.parametrize("value", ["c", "", None, 3, ["a"], b"a"])
def test_choices_refused(value):
    with pytest.raises(ValueError, match=r"^mode must be one of a, b, got "):
        check_choice(value, ("a", "b"), "mode")


def test_choices_taken():
    check_choice("a", ("a", "b"), "mode")
    check_choice("b", {"a": 1, "b": 2}, "mode")


@pytest.mark.parametrize("value", [2, 10**30, np.int64(2), np.uint8(200)])
def test_integers_taken(value):
    check_integer(value, "size", at_least=2)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1, "^size must be at least 2, got 1$"),
        (-(10**30), "^size must be at least 2, got -1000"),
        (2.0, r"^size must be an integer, got 2\.0$"),
        (True, "^size must be an integer, got True$"),
        ("2", "^size must be an integer, got '2'$"),
        (None, "^size must be an integer, got None$"),
        ([2], r"^size must be an integer, got \[2\]$"),
    ],
)
def test_integers_refused(value, message):
    with pytest.raises(ValueError, match=message):
        check_integer(value, "size", at_least=2)


@pytest.mark.parametrize("value", [0, 0.5, 1, 1.0, Fraction(1, 3), np.float32(0.25), np.int32(1)])
def test_numbers_taken(value):
    check_number(value, "share", at_least=0, at_most=1)


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (-0.1, {"at_least": 0}, r"^share must be at least 0, got -0\.1$"),
        (0, {"above": 0}, "^share must be above 0, got 0$"),
        (1.5, {"at_most": 1}, r"^share must be at most 1, got 1\.5$"),
        (math.nan, {}, "^share must be finite, got nan$"),
        (math.inf, {"at_least": 0}, "^share must be finite, got inf$"),
        (-math.inf, {}, "^share must be finite, got -inf$"),
        ("0.5", {}, r"^share must be a number, got '0\.5'$"),
        (False, {}, "^share must be a number, got False$"),
        (1j, {}, "^share must be a number, got 1j$"),
        (None, {}, "^share must be a number, got None$"),
        pytest.param(10**400, {}, "^share must be ", id="huge"),
    ],
)
def test_numbers_refused(value, bounds, message):
    with pytest.raises(ValueError, match=message):
        check_number(value, "share", **bounds)
