"""Each file gets a folder of its own."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from torchsep.engine import output_folders

NAMES = st.sampled_from(["a", "b", "song", "song.v2"])
PATHS = st.builds(
    lambda folders, stem, suffix: Path("/music", *folders, stem + suffix),
    st.lists(NAMES, max_size=3),
    NAMES,
    st.sampled_from([".wav", ".flac"]),
)


def folders_of(*files):
    return [path.as_posix() for path in output_folders([Path(file) for file in files], Path("out")).values()]


def test_unique_names_need_no_parents():
    assert folders_of("x/one.wav", "y/two.wav") == ["out/one", "out/two"]


def test_folders_where_names_do_not():
    assert folders_of("x/take/song.wav", "y/take/song.wav", "z.wav") == ["out/x/take/song", "out/y/take/song", "out/z"]


def test_suffixes_where_nothing_else_differs():
    assert folders_of("x/song.wav", "x/song.flac") == ["out/song.wav", "out/song.flac"]


@given(st.lists(PATHS, unique=True, max_size=8))
def test_no_two_files_share_a_folder(files):
    folders = output_folders(files, Path("out"))
    assert list(folders) == files
    assert len({os.path.normpath(folder) for folder in folders.values()}) == len(files)
