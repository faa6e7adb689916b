"""Windows for files that do not fit into memory."""

import pytest

from torchsep import audio, build
from torchsep.engine.windows import fitting_window, in_windows


def header(seconds, rate=44100, channels=2):
    return audio.AudioInfo(rate, channels, round(seconds * rate), "WAV", "PCM_16")


def test_files_that_fit_are_separated_whole():
    separator = build("hpss", sample_rate=44100)
    needed = separator.bytes_per_sample * 2 * 600 * 44100
    assert fitting_window(separator, header(600), round(1.3 * needed)) is None
    assert fitting_window(separator, header(600), round(1.2 * needed)) is not None


@pytest.mark.parametrize(
    ("seconds_of_memory", "expected"), [(500, 60.0), (61, 60.0), (59, 30.0), (16, 15.0), (3, 15.0)]
)
def test_the_longest_window_that_fits(seconds_of_memory, expected):
    separator = build("hpss", sample_rate=44100)
    needed = separator.bytes_per_sample * 2 * seconds_of_memory * 44100
    duration, reason = fitting_window(separator, header(3600), round(needed / 0.8))
    assert duration == expected
    gigabytes = separator.bytes_per_sample * 2 * 3600 * 44100 / 1e9
    assert reason == f"in windows of {expected:g} s, since {gigabytes:.0f} GB would be needed at once"


def test_a_short_file_is_separated_whole():
    assert fitting_window(build("hpss", sample_rate=44100), header(15), 1) is None


def test_memory_of_the_instance_decides():
    separator = build("hpss", sample_rate=44100)
    separator.bytes_per_sample = 1e6
    assert fitting_window(separator, header(600), 10**12) is not None


def test_numbered_sources_are_reordered_between_windows():
    assert in_windows(build("mix_as_estimate", num_sources=3, sample_rate=8000), 1.0).find_permutation
    assert not in_windows(build("repet", sample_rate=8000), 1.0).find_permutation
