"""Windows for long files, and separators at other rates."""

import pytest
import torch
from scenes import noise

from torchsep import audio, build
from torchsep.engine.separate.windows import at_rate, fitting_window, in_windows
from torchsep.separators import OverlapAdd, Resampled


def header(seconds, rate=44100, channels=2):
    return audio.AudioInfo(rate, channels, round(seconds * rate), "WAV", "PCM_16")


def test_whole_files_as_long_as_they_fit():
    separator = build("hpss", sample_rate=44100)
    needed = separator.bytes_per_sample * 2 * 600 * 44100
    assert fitting_window(separator, header(600), round(1.3 * needed)) is None
    assert fitting_window(separator, header(600), round(1.2 * needed)) is not None


@pytest.mark.parametrize(
    ("seconds_of_memory", "expected"), [(500, 60.0), (61, 60.0), (59, 30.0), (16, 15.0), (3, 15.0)]
)
def test_the_longest_window_that_fits(seconds_of_memory, expected):
    separator = build("hpss", sample_rate=44100)
    room = separator.bytes_per_sample * 2 * seconds_of_memory * 44100
    duration, reason = fitting_window(separator, header(3600), round(room / 0.8))
    assert duration == expected
    gigabytes = separator.bytes_per_sample * 2 * 3600 * 44100 / 1e9
    assert reason == f"in windows of {expected:g} s, since {gigabytes:.0f} GB would be needed at once"


def test_a_short_file_is_never_cut():
    assert fitting_window(build("hpss", sample_rate=44100), header(15), 1) is None


def test_what_an_instance_needs_counts():
    separator = build("hpss", sample_rate=44100)
    separator.bytes_per_sample = 1e6
    assert fitting_window(separator, header(600), 10**12) is not None


def test_resampled_to_its_rate_and_back():
    inner = build("hpss", sample_rate=8000)
    separator = at_rate(inner, 11025)
    mixture = noise(1, 2, 5000)
    expected = audio.resample(inner(audio.resample(mixture, 11025, 8000)), 8000, 11025)[..., :5000]
    assert torch.equal(separator(mixture), expected)
    assert separator.names == inner.names
    assert separator.sample_rate == 11025
    assert at_rate(inner, 8000) is inner


def test_windows_are_resampled_one_by_one():
    inner = OverlapAdd(build("hpss", sample_rate=8000), 0.2, 0.05, "hamming", True, 3, sample_rate=8000)
    separator = at_rate(inner, 11025)
    assert isinstance(separator, OverlapAdd)
    assert isinstance(separator.separator, Resampled)
    assert separator.separator.separator is inner.separator
    settings = ("window_duration", "hop_duration", "window", "find_permutation", "batch_size", "names")
    assert [getattr(separator, name) for name in settings] == [getattr(inner, name) for name in settings]
    assert separator(noise(2, 5000)).shape == (2, 2, 5000)


def test_sources_that_are_only_numbered_are_put_in_order():
    assert in_windows(build("mix_as_estimate", num_sources=3, sample_rate=8000), 1.0).find_permutation
    assert not in_windows(build("repet", sample_rate=8000), 1.0).find_permutation
