"""YAML as plain values."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

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


WORDS = st.text(st.characters(exclude_characters="$", exclude_categories=["C", "Zl", "Zp"]))  # $ refers to other values
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TREES = st.recursive(
    st.none()
    | st.booleans()
    | NUMBERS
    | NUMBERS.map(str)
    | st.from_regex(r"[0-9.eE+_:-]{1,6}", fullmatch=True)
    | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
)


@given(TREES)
@example("0E0")
@example({"1e5": ["1_000", "010", ".5", "0x10", "on", "null"]})
def test_saved_configurations_are_read_back(value):
    assert parse_yaml(OmegaConf.to_yaml({"value": value}), "x") == {"value": value}


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
