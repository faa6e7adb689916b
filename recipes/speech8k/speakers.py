"""Speakers recorded in free Debian packages, which extend the training split.

Speakers are identified by the notes of the packages where available, otherwise by language and pitch. Volunteers of the
same language and register in several packages may be one person, so they share a folder.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".wav", ".ogg", ".opus", ".gsm")


@dataclass(frozen=True)
class Speaker:
    """Recordings of one person.

    Args:
        name: name of the speaker, the prefix of its files.
        package: Debian package with the recordings.
        licence: licence of the recordings, as stated by the package.
        patterns: glob patterns of the recordings, relative to the root of the file system.
        folder: folder of the utterances; speakers that may be one person share it, and so are never mixed.
        pitch: range of the median fundamental frequency in Hz that identifies the recordings of this person.
    """

    name: str
    package: str
    licence: str
    patterns: tuple[str, ...]
    folder: str
    pitch: tuple[float, float] | None = None

    def recordings(self, root: Path) -> list[Path]:
        """Sorted recordings below a root."""
        found = {path for pattern in self.patterns for path in root.glob(pattern)}
        return sorted(path for path in found if path.suffix in SUFFIXES and path.is_file())


def _asterisk() -> Iterator[Speaker]:
    """Telephone prompts, each language by one professional; one of them speaks English and Spanish."""
    sounds = "usr/share/asterisk/sounds"
    for name, package, files, licence, folder in (
        ("en", "asterisk-core-sounds-en-wav", "en_US_f_Allison/**/*.wav", "CC BY-SA 3.0", "allison"),
        ("es", "asterisk-core-sounds-es-wav", "es_MX_f_Allison/**/*.wav", "CC BY-SA 3.0", "allison"),
        ("fr", "asterisk-core-sounds-fr-wav", "fr_CA_f_June/**/*.wav", "CC BY-SA 3.0", "fr"),
        ("it", "asterisk-core-sounds-it-wav", "it_IT_m_Carlo/**/*.wav", "CC BY 3.0", "it"),
        ("ru", "asterisk-core-sounds-ru-wav", "ru_RU_f_IvrvoiceRU/**/*.wav", "CC BY 3.0", "ru"),
        ("es-co", "asterisk-prompt-es-co", "es/**/*.gsm", "GPL-2", "es-co"),
        ("armelle", "asterisk-prompt-fr-armelle", "fr/**/*.gsm", "BSD-2-Clause", "armelle"),
        ("menardi", "asterisk-prompt-it-menardi-wav", "it_IT_f_Menardi/**/*.wav", "CC BY-SA 3.0", "menardi"),
    ):
        yield Speaker(f"x-asterisk-{name}", package, licence, (f"{sounds}/{files}",), f"x-asterisk-{folder}")


def _tuxpaint() -> Iterator[Speaker]:
    """Names of things, each language by one volunteer."""
    stamps = "usr/share/tuxpaint/stamps/**/*_desc"
    for code in ("be", "bg", "ca", "da", "el", "es", "fr", "lt", "ro", "ru"):
        name = f"x-tuxpaint-{code}"
        yield Speaker(name, "tuxpaint-stamps-default", "GPL-2", (f"{stamps}_{code}.ogg",), name)
    yield Speaker("x-tuxpaint-en", "tuxpaint-stamps-default", "GPL-2", (f"{stamps}.ogg",), "x-tuxpaint-en")


def _klettres() -> Iterator[Speaker]:
    """Letters and syllables. German is by two volunteers; Tswana, which clips, is excluded."""
    same = {"da": "x-tuxpaint-da", "lt": "x-tuxpaint-lt"}
    for code in (
        *("ar", "cs", "da", "en", "en_GB", "es", "fr", "he", "hu", "it", "lt", "ml", "nb", "nds", "nl", "pt_BR", "ru"),
        *("uk", "de/alpha", "de/syllab"),
    ):
        name = f"x-klettres-{code.replace('/', '-')}"
        patterns = (f"usr/share/klettres/{code}/**/*.ogg",)
        yield Speaker(name, "klettres-data", "GPL-2+", patterns, same.get(code, name))


def _ktuberling() -> Iterator[Speaker]:
    """Names of things; in some languages by volunteers of different registers, distinguished by pitch."""
    for name, code, folder, pitch in (
        ("ca-low", "ca", "x-tuxpaint-ca", (70, 175)),
        ("ca-high", "ca", "", (190, 400)),
        ("da-low", "da", "x-tuxpaint-da", (70, 175)),
        ("da-high", "da", "", (205, 400)),
        ("de", "de", "x-klettres-de-syllab", None),
        ("el", "el", "", None),
        ("en-low", "en", "x-klettres-en", (70, 165)),
        ("en-high", "en", "", (185, 400)),
        ("es", "es", "", None),
        ("fi", "fi", "", None),
        ("fr", "fr", "", None),
        ("ga", "ga", "", None),
        ("it", "it", "x-klettres-it", None),
        ("lt", "lt", "x-tuxpaint-lt", None),
        ("nds", "nds", "x-klettres-nds", None),
        ("nn", "nn", "x-klettres-nb", None),
        ("pt", "pt", "", None),
        ("ro", "ro", "x-tuxpaint-ro", None),
        ("ru-low", "ru", "x-tuxpaint-ru", (70, 170)),
        ("ru-high", "ru", "x-klettres-ru", (190, 400)),
        ("sl", "sl", "", None),
        ("sr", "sr", "", None),
        ("sv", "sv", "", None),
        ("uk", "uk", "x-klettres-uk", None),
        ("wa", "wa", "", None),
    ):
        full, patterns = f"x-ktuberling-{name}", (f"usr/share/ktuberling/sounds/{code}/*",)
        yield Speaker(full, "ktuberling-data", "GPL-2+", patterns, folder or full, pitch)


def _others() -> Iterator[Speaker]:
    """Sentences of a speech synthesis corpus, Mandarin syllables, a book, radio amateurs."""
    codec2, test = "usr/share/codec2/wav", "usr/share/pocketsphinx/test/data"
    russian = "usr/share/festival/voices/russian/msu_ru_nsh_clunits/wav/*.wav"
    for name, package, licence, pattern in (
        ("x-festvox-ru", "festvox-ru", "BSD-like", russian),
        ("x-gcin-5", "gcin-voice", "CC BY 3.0", "usr/share/gcin-voice/ogg/**/5.ogg"),
        ("x-pocketsphinx-librivox", "pocketsphinx-testdata", "BSD-2-Clause", f"{test}/librivox/*.wav"),
        ("x-pocketsphinx-cards", "pocketsphinx-testdata", "BSD-2-Clause", f"{test}/cards/*.wav"),
        ("x-codec2-ve9qrp", "codec2-examples", "LGPL-2.1", f"{codec2}/ve9qrp.wav"),
        ("x-codec2-vk5qi", "codec2-examples", "LGPL-2.1", f"{codec2}/vk5qi.wav"),
    ):
        yield Speaker(name, package, licence, (pattern,), name)


def _hedgewars() -> Iterator[Speaker]:
    """Actors of game characters, most of them shifted up in pitch."""
    voices = "usr/share/games/hedgewars/Data/Sounds/voices"
    for voice in (
        *("British", "Classic", "Default", "Default_es", "Default_pl", "Default_ru", "Default_uk", "HillBilly"),
        *("Mobster", "Pirate", "Russian", "Russian_pl", "Surfer"),
    ):
        name = f"x-hedgewars-{voice.lower().replace('_', '-')}"
        yield Speaker(name, "hedgewars-data", "GFDL-1.3", (f"{voices}/{voice}/*.ogg",), name)


SPEAKERS = (*_asterisk(), *_tuxpaint(), *_klettres(), *_ktuberling(), *_others(), *_hedgewars())
