"""Each file gets a folder of its own."""

import os
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from torchsep.engine import output_folders

OUT = Path("out")
PARTS = st.sampled_from(["a", "A", "song", "song.v2", "..", ".", "x.wav", "\u00e9", "e\u0301", "\ud55c", " ", "..."])
SUFFIXES = st.sampled_from(["", ".", ".wav", ".WAV", ".mp3", ".mp3.wav", ".wav.wav", ". .wav"])
PATHS = st.builds(
    lambda anchor, folders, stem, suffix: Path(anchor, *folders, stem + suffix),
    st.sampled_from(["", "/", "/music", "../.."]),
    st.lists(PARTS, max_size=3),
    PARTS | st.text(max_size=3).map(lambda text: text.replace("/", "")),
    SUFFIXES,
)
LISTS = st.lists(PATHS, unique=True, max_size=12)


def folders_of(*files, root=None):
    paths = [Path(file) for file in files]
    roots = None if root is None else dict.fromkeys(paths, Path(root))
    return [path.relative_to(OUT).as_posix() for path in output_folders(paths, OUT, roots).values()]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["x/one.wav", "y/two.wav"], ["one", "two"]),
        (["x/take/song.wav", "y/take/song.wav", "z.wav"], ["x/take/song", "y/take/song", "z"]),
        (["x/song.wav", "x/song.flac"], ["song.wav", "song.flac"]),
        (["song.mp3", "song.wav", "song.mp3.wav"], [f"{Path.cwd().name}/song", "song.wav", "song.mp3"]),
        (["x/Song.wav", "x/song.flac"], ["Song.wav", "song.flac"]),
        (["x/.wav", "x/..wav", "x/...wav"], [".wav", "..wav", "...wav"]),
        (["x/song. .wav"], ["song"]),
    ],
)
def test_names(files, expected):
    assert folders_of(*files) == expected


def test_the_tree_below_a_root_is_kept():
    files = ["in/a/song.wav", "in/b/song.wav", "in/b/deep/er/voice.flac"]
    assert folders_of(*files, root="in") == ["a/song", "b/song", "b/deep/er/voice"]


def test_a_file_outside_its_root_is_named_alone():
    assert folders_of("elsewhere/song.wav", root="in") == ["song"]


@given(LISTS, st.sampled_from([None, Path(), Path("/music"), Path("..")]))
@example([Path("../a.wav"), Path("a.wav")], None)
@example([Path("a.wav"), Path("a/../a.wav"), Path(os.path.abspath("a.wav"))], None)  # noqa: PTH100
def test_no_two_files_share_a_folder(files, root):
    roots = None if root is None else dict.fromkeys(files, root)
    folders = output_folders(files, OUT, roots)
    assert list(folders) == files
    below = [os.path.relpath(os.path.normpath(folder), OUT) for folder in folders.values()]
    assert all(text != os.curdir and os.pardir not in Path(text).parts for text in below)
    assert len({unicodedata.normalize("NFC", text).casefold() for text in below}) == len(files)
    assert output_folders(files[::-1], OUT, roots) == folders  # whatever the order


@given(LISTS)
def test_a_file_of_another_name_moves_none(files):
    before = output_folders(files, OUT)
    after = output_folders([*files, Path("/elsewhere/quite different.wav")], OUT)
    assert {file: after[file] for file in files} == before


def test_many_files_take_time_in_proportion():
    """A comparison of all pairs would take minutes."""
    files = [Path(f"/music/{number % 100}/{number // 2}{suffix}") for number in range(20000) for suffix in (".a", ".b")]
    started = time.monotonic()
    assert len(set(output_folders(files, OUT).values())) == len(files)
    assert time.monotonic() - started < 20
