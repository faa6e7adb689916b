"""Separation in windows of recordings that do not fit into memory."""

from torchsep import audio
from torchsep.separators import OverlapAdd, Separator
from torchsep.separators.bases.source_names import are_numbered

__all__ = ["fitting_window", "in_windows"]

_DURATIONS = (60.0, 30.0, 15.0)  # window durations to choose from, in seconds
_SHARE = 0.8  # of the available memory


def in_windows(separator: Separator, window_duration: float) -> OverlapAdd:
    """A separator that works in windows; the separator itself if it already does.

    If the names only number the sources, their order may differ between windows, and the permutation is found.

    Args:
        separator: applied to each window.
        window_duration: in seconds.

    Example:
        >>> in_windows(build("hpss", sample_rate=8000), 15.0).find_permutation
        False
        >>> in_windows(build("mix_as_estimate", num_sources=2, sample_rate=8000), 15.0).find_permutation
        True
    """
    if isinstance(separator, OverlapAdd):
        return separator
    find = are_numbered(separator.names)
    return OverlapAdd(separator, window_duration, find_permutation=find, sample_rate=separator.sample_rate)


def fitting_window(separator: Separator, info: audio.AudioInfo, available: int) -> tuple[float, str] | None:
    """The window duration in seconds that fits into memory, and the reason in words; None if the whole file fits.

    Args:
        separator: at the sample rate of the file.
        info: header of the file.
        available: memory in bytes.

    Example:
        >>> info = audio.AudioInfo(44100, 2, 44100 * 7200, "WAV", "PCM_16")
        >>> window = fitting_window(build("hpss", sample_rate=44100), info, available=4 * 10**9)
        >>> window[0]
        60.0
    """
    bytes_per_sample = separator.bytes_per_sample * info.channels
    needed, budget = bytes_per_sample * info.num_samples, _SHARE * available
    if needed <= budget or info.duration <= _DURATIONS[-1]:
        return None
    fitting = [duration for duration in _DURATIONS if bytes_per_sample * duration * info.sample_rate <= budget]
    duration = fitting[0] if fitting else _DURATIONS[-1]
    gigabytes = f"{needed / 1e9:.0f}" if needed >= 1e10 else f"{needed / 1e9:.1f}"
    return duration, f"in windows of {duration:g} s, since {gigabytes} GB would be needed at once"
