"""Separators at the rate of a file, and in windows where it is long."""

from torchsep import audio
from torchsep.separators import Separator
from torchsep.separators.bases.source_names import are_numbered
from torchsep.separators.overlap_add import OverlapAdd
from torchsep.separators.resampled import Resampled

__all__ = ["at_rate", "fitting_window", "in_windows"]

_DURATIONS = (60.0, 30.0, 15.0)  # of windows that are chosen for a file, in seconds
_SHARE = 0.8  # of the memory there is


def at_rate(separator: Separator, sample_rate: int) -> Separator:
    """A separator for a sample rate in Hz; one in windows stays so, with whole windows resampled."""
    if separator.sample_rate == sample_rate:
        return separator
    if not isinstance(separator, OverlapAdd):
        return Resampled(separator, sample_rate=sample_rate)
    return OverlapAdd(
        at_rate(separator.separator, sample_rate),
        separator.window_duration,
        separator.hop_duration,
        separator.window,
        separator.find_permutation,
        separator.batch_size,
        sample_rate=sample_rate,
    )


def in_windows(separator: Separator, window_duration: float) -> OverlapAdd:
    """A separator in windows of a duration in seconds, of sources in the same order all along.

    Names that only number the sources say nothing of their order in a window; it is found.

    Example:
        >>> in_windows(build("hpss", sample_rate=8000), 15.0).find_permutation
        False
        >>> in_windows(build("mix_as_estimate", num_sources=2, sample_rate=8000), 15.0).find_permutation
        True
    """
    find = are_numbered(separator.names)
    return OverlapAdd(separator, window_duration, find_permutation=find, sample_rate=separator.sample_rate)


def fitting_window(separator: Separator, info: audio.AudioInfo, available: int) -> tuple[float, str] | None:
    """Seconds of a window that fits into memory, and why, in words; None if the whole file does.

    Args:
        separator: at the rate of the file.
        info: header of the file.
        available: memory in bytes.

    Example:
        >>> info = audio.AudioInfo(44100, 2, 44100 * 7200, "WAV", "PCM_16")
        >>> window = fitting_window(build("hpss", sample_rate=44100), info, available=4 * 10**9)
        >>> window[0]
        60.0
    """
    each = separator.bytes_per_sample * info.channels
    needed, room = each * info.num_samples, _SHARE * available
    if needed <= room or info.duration <= _DURATIONS[-1]:
        return None
    fitting = [duration for duration in _DURATIONS if each * duration * info.sample_rate <= room]
    duration = fitting[0] if fitting else _DURATIONS[-1]
    gigabytes = f"{needed / 1e9:.0f}" if needed >= 1e10 else f"{needed / 1e9:.1f}"
    return duration, f"in windows of {duration:g} s, since {gigabytes} GB would be needed at once"
