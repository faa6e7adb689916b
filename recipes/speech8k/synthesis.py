"""Voices of the speech synthesisers espeak-ng and flite, which extend the training split.

They speak words and numbers in random order. A voice of espeak-ng is a language, which determines the pronunciation,
with a voice variant, a pitch and a speed.
"""

import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_WORDS = (
    "about after again always another answer apple around autumn bread bridge bright brother carry chair cheese child "
    "circle clever cloud coffee colour corner country dance daughter deep door dream early earth eight evening every "
    "family farmer father finger fire flower follow forest friend garden gentle glass golden grandmother green happy "
    "harbour heavy holiday house hundred island journey kitchen ladder language laugh letter light little london "
    "machine many market meadow mirror money morning mother mountain music narrow never noise number ocean often open "
    "orange paper people picture piano pocket question quick quiet rabbit rain reason river robin round school seven "
    "shadow silver simple sister slow small snow something spring station stone story street sugar summer table "
    "teacher thousand ticket together tomorrow travel under valley village violin voice water weather window winter "
    "wonder yellow yesterday young"
)
_LANGUAGES = (
    "en-gb en-us en-gb-scotland en-gb-x-rp en-029 de fr-fr fr-be es es-419 it pt pt-br nl sv nb da is fi et lv lt pl "
    "cs sk sl hr sr bs hu ro bg el sq tr az ca eo la cy ga eu sw af id ms vi"
)
_VARIANTS = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5")
_FLITE = ("awb", "rms", "slt", "kal16")
COUNT = 60  # number of espeak-ng voices


@dataclass(frozen=True)
class Voice:
    """A voice of a synthesiser.

    Args:
        name: name of the voice, the prefix of its files and the name of their folder.
        package: Debian package.
        licence: licence of the package.
        command: command that reads the file ``{text}`` and writes speech to ``{wave}``.
        seconds: total duration of its utterances in seconds.
    """

    name: str
    package: str
    licence: str
    command: tuple[str, ...]
    seconds: float

    @property
    def program(self) -> str:
        """Required program."""
        return self.command[0]

    def speak(self, folder: Path, seed: int) -> Path:
        """Synthesise a recording that is longer than needed, and return its path."""
        text, wave = folder / f"{self.name}.txt", folder / f"{self.name}.wav"
        text.write_text(words(random.Random(f"{seed} {self.name}"), round(3 * self.seconds)), encoding="utf-8")  # noqa: S311
        command = [part.format(text=text, wave=wave) for part in self.command]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            lines = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
            raise ValueError(f"{self.program} must speak with the voice {self.name}: {' '.join(lines[-1:])}") from None
        return wave


def words(generator: random.Random, count: int) -> str:
    """Random words and numbers, a few per line."""
    numbers = [str(number) for number in range(100)]
    chosen = [generator.choice(_WORDS.split() if generator.random() < 0.75 else numbers) for _ in range(count)]
    lines, start = [], 0
    while start < count:
        step = generator.randrange(4, 8)
        lines.append(" ".join(chosen[start : start + step]) + ".")
        start += step
    return "\n".join(lines) + "\n"


def _voices() -> Iterator[Voice]:
    for voice in _FLITE:
        command = ("flite", "-voice", voice, "-f", "{text}", "-o", "{wave}")
        yield Voice(f"x-flite-{voice}", "flite", "BSD-like", command, 120.0)
    generator = random.Random(0)  # noqa: S311
    languages = [generator.choice(_LANGUAGES.split()) for _ in range(COUNT)]
    for number, language in enumerate(languages):
        variant = _VARIANTS[number % len(_VARIANTS)]
        pitch, speed = generator.randrange(20, 80), generator.randrange(130, 200)
        options = ("-v", f"{language}+{variant}", "-p", str(pitch), "-s", str(speed), "-f", "{text}", "-w", "{wave}")
        name = f"x-espeak-ng-{language}-{variant}-{pitch}-{speed}"
        yield Voice(name, "espeak-ng", "GPL-3+", ("espeak-ng", *options), 40.0)


VOICES = tuple(_voices())
