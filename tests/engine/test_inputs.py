"""The files that the arguments of `torchsep separate` stand for."""

import os
from pathlib import Path

import pytest

from torchsep.engine import find_inputs
from torchsep.engine.separate.inputs import mark


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names):
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def found(*arguments, output="separated"):
    inputs = find_inputs(arguments, Path(output))
    return [file.as_posix() for file in inputs.files], inputs.notes


def test_folders_are_searched_in_order_and_files_found_once(tree):
    touch("in/b/two.FLAC", "in/a.wav", "in/b/.hidden.wav", "in/notes.txt", "in/b/c/three.wav")
    files = ["in/a.wav", "in/b/c/three.wav", "in/b/two.FLAC"]
    assert found("in", "in/b/../a.wav") == (files, [])
    inputs = find_inputs(["in/a.wav", "in"])
    assert inputs.roots == {Path(file): Path("in") for file in files}


def test_the_output_folder_is_never_searched_on_the_way(tree):
    touch("song.wav", "separated/hpss/song/harmonic.wav", "other.v1/old.wav")
    assert found(".") == (["other.v1/old.wav", "song.wav"], ["passed over results of torchsep: separated"])
    Path("link").symlink_to("separated")
    files, _ = found(".", output="link")
    assert files == ["other.v1/old.wav", "song.wav"]


def test_marked_folders_are_passed_over(tree):
    touch("song.wav", "deep/elsewhere/hpss/song/harmonic.wav")
    mark(Path("deep/elsewhere"), "hpss")
    assert found(".") == (["song.wav"], ["passed over results of torchsep: deep/elsewhere/hpss"])


@pytest.mark.parametrize("argument", ["separated/hpss", "separated/hpss/song/harmonic.wav"])
def test_what_is_named_is_an_input(tree, argument):
    touch("separated/hpss/song/harmonic.wav")
    mark(Path("separated"), "hpss")
    assert found(argument) == (["separated/hpss/song/harmonic.wav"], [])


def test_only_results_beside_files_is_no_error(tree):
    """As the shell expands `*` the second time."""
    touch("song.wav", "separated/hpss/song/harmonic.wav")
    mark(Path("separated"), "hpss")
    assert found("separated", "song.wav")[0] == ["song.wav"]
    with pytest.raises(ValueError, match="FILE must be or hold an audio file, got separated; passed over results"):
        found("separated")


def test_folders_that_look_like_files_and_links_are_noted(tree):
    touch("in/x.wav/y.wav", "elsewhere/z.wav")
    Path("in/dangling.wav").symlink_to("missing.wav")
    Path("in/link").symlink_to(tree / "elsewhere")
    os.mkfifo("in/pipe.wav")
    files, notes = found("in")
    assert files == ["in/dangling.wav", "in/x.wav/y.wav"]
    assert [note.partition(" ")[0] for note in sorted(notes)] == ["in/link", "in/pipe.wav", "in/x.wav"]


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        ("in/*.wav", ["in/a.wav"]),
        ("in/**/*.wav", ["in/a.wav", "in/b/c/three.wav"]),
        ("in/?/*", ["in/b/c/three.wav", "in/b/two.FLAC"]),
        ("**/*.[wW]*", ["in/a.wav", "in/b/c/three.wav"]),
        ("in/[a].wav", ["in/a.wav"]),
        ("none/*.wav", ["none/*.wav"]),
    ],
)
def test_patterns(tree, pattern, files):
    touch("in/a.wav", "in/b/two.FLAC", "in/b/notes.txt", "in/b/c/three.wav", "separated/hpss/a/harmonic.wav")
    touch("old/repet/a/background.wav")
    mark(Path("old"), "repet")
    assert sorted(found(pattern)[0]) == sorted(files)


def test_a_pattern_keeps_the_tree_below_its_fixed_part(tree):
    touch("in/a.wav", "in/b/c/three.wav")
    assert set(find_inputs(["in/**/*.wav"]).roots.values()) == {Path("in")}


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tree):
    touch("song [live].wav", "song l.wav")
    assert found("song [live].wav")[0] == ["song [live].wav"]


def test_a_folder_without_audio_is_an_error(tree):
    touch("in/notes.txt")
    with pytest.raises(ValueError, match="in holds no audio file"):
        found("in")
