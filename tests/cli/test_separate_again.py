"""`torchsep separate` run again, where its results are among the files."""

import pytest
from cli.separated_files import separate, write_noise


def audio_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.wav") if path.is_file())


@pytest.mark.parametrize("output", ["separated", ".", "a/b/results"])
def test_two_methods_twice_in_a_folder(tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    for name in ("song.wav", "album/song.wav"):
        write_noise(tmp_path / name, seconds=0.2)
    for _ in range(2):
        for method in ("hpss", "high_low_pass_filter"):
            result = separate(".", "-s", method, "-o", output)
            assert result.exit_code == 0, result.output
    names = {"hpss": ("harmonic", "percussive"), "high_low_pass_filter": ("high", "low")}
    results = [
        f"{method}/{song}/{name}.wav" for method in names for song in ("song", "album/song") for name in names[method]
    ]
    assert audio_below(tmp_path / output) == sorted(
        [*results, *(["song.wav", "album/song.wav"] if output == "." else [])]
    )
    assert result.output.count("passed over results of torchsep") == 1


def test_results_of_another_output_folder_are_passed_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_noise(tmp_path / "song.wav", seconds=0.2)
    assert separate(".", "-s", "hpss", "-o", "first").exit_code == 0
    result = separate(".", "-s", "hpss", "-o", "second")
    assert "passed over results of torchsep: first/hpss" in result.output
    assert audio_below(tmp_path / "second") == ["hpss/song/harmonic.wav", "hpss/song/percussive.wav"]


def test_a_dangling_link_fails_and_the_others_are_done(tmp_path):
    write_noise(tmp_path / "in/song.wav", seconds=0.2)
    (tmp_path / "in/dangling.wav").symlink_to("missing.wav")
    result = separate(tmp_path / "in", "-s", "hpss", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "dangling.wav: is a link to missing.wav, which does not exist" in result.output
    assert audio_below(tmp_path / "out") == ["hpss/song/harmonic.wav", "hpss/song/percussive.wav"]
