"""YAML as plain values."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from torchsep.engine.plain_yaml import parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0100", 100),
        ("-017", -17),
        ("+4", 4),
        (".5", 0.5),
        ("2.", 2.0),
        ("1e1", 10.0),
        ("1e-3", 0.001),
        ("true", True),
        ("null", None),
        ("", None),
        *((word, word) for word in ("on", "yes", "No", "1:30", "1_000", "0x10", "2024-01-01", "=", "C:\\music", "e5")),
        ("'12'", "12"),
        ("[a, 1, {b: 2.5}]", ["a", 1, {"b": 2.5}]),
    ],
)
def test_scalars_are_numbers_or_words(text, value):
    found = parse_yaml(text, "x")
    assert found == value
    assert type(found) is type(value)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))


@given(TREES)
def test_what_is_written_is_read_back(value):
    assert parse_yaml(yaml.safe_dump(value), "x") == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [1]\nb: [*a, *a]", "x must have no anchors, aliases or tags, got one in line 1"),
        ("&a [*a]", "x must have no anchors, aliases or tags, got one in line 1"),
        ("a: 1\nb: !!python/object/apply:os.system [ls]", "x must have no anchors, aliases or tags, got one in line 2"),
        ("[" * 1000, "x must be nested at most 16 levels deep, got more in line 1"),
        ("[" * 17 + "]" * 17, "x must be nested at most 16 levels deep"),
        ("a" * 70000, "x must have at most 65536 characters, got 70000"),
        ("1e999", "x must have finite numbers, got inf"),
        ("[1,", "x is not valid YAML: while parsing a flow node"),
        ("{[1]: 2}", "x is not valid YAML: while constructing a mapping"),
    ],
)
def test_what_could_hang_or_run_is_refused(text, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        parse_yaml(text, "x")
