"""Capabilities of audio formats, and error messages for unsupported encodings."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import soundfile

from torchsep.checks import check_choice, check_number, nearest

__all__ = [
    "AUDIO_SUFFIXES",
    "BLOCK",
    "SAMPLE_BYTES",
    "UNBOUNDED",
    "WRITTEN",
    "Compression",
    "Overflow",
    "StrPath",
    "check_encoding",
    "check_limits",
    "check_overflow",
    "choose_subtype",
    "holds_floats",
    "native_path",
    "one_line",
    "one_line_errors",
]

StrPath: TypeAlias = str | os.PathLike[str]
Overflow: TypeAlias = Literal["float", "rescale", "clip"]

WRITTEN = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3", ".aiff": "AIFF", ".aif": "AIFF"}
AUDIO_SUFFIXES = (*WRITTEN, ".oga", ".opus", ".caf", ".au", ".w64")
SAMPLE_BYTES = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
UNBOUNDED = ("FLOAT", "DOUBLE")
BLOCK = 2**16  # samples per channel processed at once
# ADPCM and similar subtypes are excluded: they pad to whole blocks, which changes the length.
_SUBTYPES = {*SAMPLE_BYTES, "ULAW", "ALAW", "VORBIS", "OPUS", "MPEG_LAYER_III"}
# Maximum number of channels, and sample rates. libsndfile 1.2 crashes beyond those of Vorbis.
_LIMITS: dict[str, tuple[int, Sequence[int]]] = {
    "WAV": (1024, range(1, 2**31)),
    "AIFF": (1024, range(1, 2**28)),
    "FLAC": (8, range(1, 65_536)),
    "VORBIS": (255, range(1, 200_001)),
    "OPUS": (255, (8000, 12000, 16000, 24000, 48000)),
    "MP3": (2, (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)),
}
_FLAC_HIGH_RATES = range(65_540, 655_351, 10)  # the only rates above 65535 that its frames support


# Bit rates of MP3 in kbit/s, by the lowest sample rate that has them; libsndfile spreads levels over their range.
_BITRATES = {
    32000: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    16000: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    8000: (8, 16, 24, 32, 40, 48, 56, 64),
}
_LOSSY = ("VORBIS", "OPUS", "MPEG_LAYER_III")
_SHORTEST_FRAME = 184  # bytes of an MP3 frame that has room for the length of the file, in its first frame
_HIGHEST_LEVEL = 0.99  # libsndfile 1.2 refuses 1.0 for MP3


@dataclass(frozen=True)
class Compression:
    """How much a lossy format compresses; the default of the encoder if neither is given.

    Args:
        bitrate: of MP3, constant, in kbit/s; the nearest that the sample rate has, such as 64 to 320 at 44.1 kHz and 24
            to 64 at 8 kHz.
        quality: of Ogg and MP3 at a variable bit rate, from 0 (smallest) to 10 (best).

    Raises:
        ValueError: if both are given, or one is out of range.
    """

    bitrate: int | None = None
    quality: float | None = None

    def __post_init__(self) -> None:
        rates = sorted({rate for rates in _BITRATES.values() for rate in rates})
        if self.bitrate is not None and self.bitrate not in rates:
            raise ValueError(f"bitrate must be one of {', '.join(map(str, rates))} kbit/s, got {self.bitrate}")
        if self.quality is not None:
            check_number(self.quality, "quality", at_least=0.0, at_most=10.0)
        if self.bitrate is not None and self.quality is not None:
            raise ValueError(f"bitrate must be omitted where quality is given, got {self.bitrate}")

    def check(self, form: str, subtype: str) -> None:
        """Raise unless a format compresses in this way."""
        if self.bitrate is not None and form != "MP3":
            raise ValueError(f"bitrate must be omitted except for MP3, got {self.bitrate} for {form}")
        if self.quality is not None and subtype not in _LOSSY:
            raise ValueError(
                f"quality must be omitted except for OGG and MP3, got {self.quality:g} for {form} {subtype}"
            )

    def options(self, form: str, rate: int) -> dict[str, Any]:
        """The arguments for soundfile, in a format at a sample rate."""
        wanted = self.bitrate
        if wanted is not None:
            rates = next(rates for lowest, rates in _BITRATES.items() if rate >= lowest)
            samples = 1152 if rate >= 32000 else 576  # of a frame
            usable = [known for known in rates if known * 1000 / 8 * samples / rate >= _SHORTEST_FRAME]
            bitrate = min(usable, key=lambda known: abs(known - wanted))
            level = (rates[-1] - bitrate) / (rates[-1] - rates[0])
            return {"compression_level": min(level, _HIGHEST_LEVEL), "bitrate_mode": "CONSTANT"}
        if self.quality is not None:
            level = min(1 - self.quality / 10, _HIGHEST_LEVEL)
            return {"compression_level": level, **({"bitrate_mode": "VARIABLE"} if form == "MP3" else {})}
        return {}


def one_line(path: StrPath, text: str) -> str:
    """Format an error message as a single line that starts with the path of the file.

    Example:
        >>> one_line("a.wav", "is empty")
        'a.wav: is empty'
    """
    return " ".join(f"{os.fspath(path)}: {text}".splitlines())


def native_path(path: Path) -> str | bytes:
    """A path for soundfile, which cannot encode names on POSIX systems that are not UTF-8."""
    return str(path) if os.name == "nt" else os.fsencode(path)


@contextmanager
def one_line_errors(path: Path, problem: str) -> Iterator[None]:
    """Convert system errors to single-line errors of the same class; errors of this package have no errno and pass."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        message = one_line(path, f"{problem} ({error.strerror}); check the folder and its permissions")
        raise type(error)(message) from error


def check_encoding(
    suffix: str, subtype: str | None = None, overflow: str | None = None, compression: Compression | None = None
) -> None:
    """Raise unless a format can be written with a subtype and an overflow policy.

    For checks before there are samples; :func:`torchsep.audio.write_sources` applies the same rules.

    Args:
        suffix: file suffix without the dot, such as ``wav`` or ``flac``.
        subtype: encoding, as for :func:`torchsep.audio.write_sources`.
        overflow: overflow policy, as for :func:`torchsep.audio.write_sources`.
        compression: of a lossy format.

    Raises:
        ValueError: if the format cannot be written, or does not support the subtype, the policy or the compression.

    Example:
        >>> check_encoding("flac", "PCM_16", "rescale")
        >>> check_encoding("flac", "PCM16")
        Traceback (most recent call last):
        ...
        ValueError: subtype must be one of PCM_S8, PCM_16, PCM_24 in FLAC, got 'PCM16'; did you mean PCM_16?
    """
    known = {name.removeprefix("."): form for name, form in WRITTEN.items()}
    # Case-insensitive, as for file names.
    name = suffix.lower() if isinstance(suffix, str) and suffix.lower() in known else suffix
    check_choice(name, tuple(known), "format")
    chosen = choose_subtype(known[name], subtype)
    check_overflow(known[name], overflow)
    if compression is not None:
        compression.check(known[name], chosen)


def choose_subtype(form: str, subtype: str | None) -> str:
    """Validate a subtype; None selects 24-bit integers, or the default of the format."""
    # libsndfile 1.2 lists MP3 as a subtype of WAV, but cannot write it.
    known = _SUBTYPES - {"MPEG_LAYER_III"} if form == "WAV" else _SUBTYPES
    available = [name for name in soundfile.available_subtypes(form) if name in known]
    chosen = subtype or ("PCM_24" if "PCM_24" in available else soundfile.default_subtype(form))
    if chosen not in available:
        hint = nearest(str(chosen).upper(), available)
        raise ValueError(f"subtype must be one of {', '.join(available)} in {form}, got {subtype!r}{hint}")
    return str(chosen)


def holds_floats(form: str) -> bool:
    """Whether a format has a subtype that keeps samples above full scale."""
    return bool(soundfile.check_format(form, "FLOAT"))


def check_overflow(form: str, overflow: str | None) -> None:
    """Raise unless a format supports an overflow policy."""
    policies = [name for name in get_args(Overflow) if name != "float" or holds_floats(form)]
    if overflow is not None and overflow not in policies:
        rule = '"float" (where the format can hold it), "rescale", "clip" or None'
        raise ValueError(f"overflow must be {rule} in {form}, got {overflow!r}{nearest(str(overflow), policies)}")


def check_limits(form: str, subtype: str, channels: int, rate: int) -> None:
    """Raise unless a format supports a number of channels and a sample rate."""
    max_channels, rates = _LIMITS.get(subtype) or _LIMITS[form]
    if channels > max_channels:
        raise ValueError(f"channels must be at most {max_channels} in {form}, got {channels}")
    high = _FLAC_HIGH_RATES if form == "FLAC" else ()
    if isinstance(rate, bool) or not isinstance(rate, int) or (rate not in rates and rate not in high):
        rule = f"from {rates[0]} to {rates[-1]}" if isinstance(rates, range) else f"one of {', '.join(map(str, rates))}"
        rule += f", or above {rates[-1]} a multiple of {high.step} up to {high[-1]}" if isinstance(high, range) else ""
        raise ValueError(f"sample_rate must be an integer {rule} Hz in {form} {subtype}, got {rate}")
