"""Options of `torchsep separate` for daily use: standard input, patterns, bit rates, silence, completion."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from cli.separated_files import read_sources, separate, write_noise
from typer.testing import CliRunner

from torchsep import build
from torchsep.cli.main import app
from torchsep.engine import SeparatorChoice, separate_files


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_standard_input(tmp_path, suffix):
    mixture = write_noise(tmp_path / f"song.{suffix}", seconds=0.2)
    content = (tmp_path / f"song.{suffix}").read_bytes()
    arguments = ["separate", "-", "-s", "hpss", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments, input=content)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("standard input -> ")
    total = sum(samples for samples, _ in read_sources(tmp_path / "out/hpss/stdin").values())
    assert np.abs(total - mixture).max() < 1e-4


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (b"", 2, "torchsep: FILE - must be audio on standard input, got nothing"),
        (b"nonsense", 1, "failed: standard input: is no audio in spite of its name"),
    ],
)
def test_standard_input_without_audio(tmp_path, content, code, message):
    arguments = ["separate", "-", "-s", "hpss", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments, input=content)
    assert result.exit_code == code
    assert result.output.startswith(message)
    assert not (tmp_path / "out").exists()


def test_quoted_patterns(tmp_path):
    for name in ("a.wav", "b.wav", "deep/c.wav"):
        write_noise(tmp_path / name, seconds=0.2)
    assert separate(tmp_path / "**/*.wav", "-s", "mix_as_estimate", "-o", tmp_path / "out").exit_code == 0
    folders = {path.parent.relative_to(tmp_path / "out/mix_as_estimate") for path in (tmp_path / "out").rglob("*.wav")}
    assert {folder.as_posix() for folder in folders} == {"a", "b", "deep/c"}


@pytest.mark.parametrize(
    ("rate", "bitrate", "expected"), [(44100, 96, 96), (44100, 320, 320), (22050, 320, 160), (8000, 8, 24)]
)
@pytest.mark.parametrize("window", [[], ["--window", "0.7"]])
def test_bit_rate(tmp_path, rate, bitrate, expected, window):
    write_noise(tmp_path / "song.wav", rate=rate, seconds=4.0)
    arguments = ["-s", "mix_as_estimate", "-o", tmp_path / "out", "--format", "mp3", "--bitrate", bitrate, *window]
    result = separate(tmp_path / "song.wav", *arguments)
    assert result.exit_code == 0, result.output
    path = tmp_path / "out/mix_as_estimate/song/source_1.mp3"
    assert soundfile.info(path).frames == 4 * rate
    assert path.stat().st_size * 8 / 4000 == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("format_", ["ogg", "mp3"])
def test_quality(tmp_path, format_):
    write_noise(tmp_path / "song.wav", rate=44100)
    sizes = []
    for quality in (0, 5, 10):
        arguments = ["-s", "mix_as_estimate", "-o", tmp_path / "out", "--format", format_, "--quality", quality]
        result = separate(tmp_path / "song.wav", *arguments)
        assert result.exit_code == 0, result.output
        sizes.append((tmp_path / f"out/mix_as_estimate/song/source_1.{format_}").stat().st_size)
    assert sizes[0] < 0.8 * sizes[1] < 0.64 * sizes[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "mp3", "--bitrate", "100"], "bitrate must be one of 8, 16, .* got 100"),
        (["--format", "flac", "--bitrate", "128"], "bitrate must be omitted except for MP3, got 128 for FLAC"),
        (["--quality", "5"], "quality must be omitted except for OGG and MP3, got 5 for WAV"),
        (["--format", "ogg", "--quality", "11"], "quality must be at most 10, got 11"),
        (["--format", "mp3", "--quality", "5", "--bitrate", "128"], "bitrate must be omitted where quality is given"),
    ],
)
def test_wrong_compression(tmp_path, arguments, message):
    write_noise(tmp_path / "song.wav", seconds=0.2)
    result = separate(tmp_path / "song.wav", "-s", "hpss", "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert re.search(message, result.output)
    assert not (tmp_path / "out").exists()


def test_quiet_prints_failures_only(tmp_path):
    write_noise(tmp_path / "in/song.wav", seconds=0.2)
    (tmp_path / "in/x.wav").mkdir()
    assert separate(tmp_path / "in", "-s", "hpss", "-o", tmp_path / "out", "--quiet").output == ""
    result = separate(tmp_path / "in", tmp_path / "missing.wav", "-s", "hpss", "-o", tmp_path / "out", "-q")
    assert result.exit_code == 1
    assert [line.partition(":")[0] for line in result.output.splitlines()] == ["failed", "torchsep"]


def test_progress_within_a_file(tmp_path):
    write_noise(tmp_path / "song.wav", seconds=4.0)
    news = []
    choice = SeparatorChoice(build("hpss", sample_rate=8000))
    separate_files([tmp_path / "song.wav"], choice, tmp_path / "out", window_duration=1.0, receive=news.append)
    *parts, result = news
    assert len(parts) > 3
    assert parts == sorted(set(parts))
    assert 0 < parts[0] < parts[-1] == 1.0
    assert len(result.written) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="for bash")
@pytest.mark.parametrize(("words", "expected"), [("torchsep sep", "separate"), ("torchsep separate -s hp", "hpss")])
def test_shell_completion(words, expected):
    completion = {"_TORCHSEP_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    code = "from torchsep.cli import main; import sys; sys.argv = ['torchsep']; main()"
    environment = {**os.environ, **completion}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [expected], done.stderr
