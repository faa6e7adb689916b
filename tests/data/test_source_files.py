"""Grouping of files of single sources."""

import pytest

from torchsep.data.source_files import find_groups


@pytest.fixture
def root(tmp_path):
    for name in ("b/2.wav", "b/1.flac", "a/x/3.wav", "c/a_7.ogg", "c/b_8.ogg", "top.wav", "c/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def found(*arguments):
    return {name: [path.name for path in paths] for name, paths in find_groups(*arguments).items()}


def test_folders_are_groups_in_order(root):
    groups = found(root)
    assert groups == {"b": ["1.flac", "2.wav"], "c": ["a_7.ogg", "b_8.ogg"], "x": ["3.wav"]}
    assert list(groups) == sorted(groups)


def test_a_pattern_finds_groups_elsewhere_in_the_path(root):
    assert found(root, "^([^/]+)/") == {"a": ["3.wav"], "b": ["1.flac", "2.wav"], "c": ["a_7.ogg", "b_8.ogg"]}
    assert found(root, r"/(\w)_\d+\.ogg$") == {"a": ["a_7.ogg"], "b": ["b_8.ogg"]}


def test_groups_can_be_made_one(tmp_path):
    for name in ("ww-27", "ww-28", "ww-3"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.wav").touch()
    assert {name: len(files) for name, files in find_groups(tmp_path, r"^(ww-2)\d/|^([^/]+)/").items()} == {
        "ww-2": 2,
        "ww-3": 1,
    }


def test_only_those_wanted_in_their_order(root, tmp_path):
    assert list(found(root, None, ["x", "b"])) == ["x", "b"]
    names = tmp_path / "names.txt"
    names.write_text("c\n\n b \n", encoding="utf-8")
    assert list(found(root, None, names)) == list(found(root, None, str(names))) == ["c", "b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("[",), "^group_pattern must be a regular expression, got '\\['"),
        (("a/b",), "^group_pattern must have a parenthesis around the name of the group, got 'a/b'$"),
        (("(never)",), "must hold files in which '\\(never\\)' is found, got none$"),
        ((None, ["bb"]), "^groups must be some of the 3 found, got 'bb'; did you mean b\\?$"),
        ((None, []), "^groups must name at least one group, got none$"),
    ],
)
def test_bad_arguments(root, arguments, message):
    with pytest.raises(ValueError, match=message):
        find_groups(root, *arguments)


def test_missing_folders_and_files_are_named(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere: is no folder; root must hold the recordings$"):
        find_groups(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"none\.txt"):
        find_groups(root, None, tmp_path / "none.txt")


def test_a_folder_without_groups_is_told_so(tmp_path):
    (tmp_path / "1.wav").touch()
    with pytest.raises(ValueError, match=r"must hold a folder of audio files for each group, got none$"):
        find_groups(tmp_path)
