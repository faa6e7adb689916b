"""Mix WSJ0-2mix or WSJ0-3mix from WSJ0 and the published lists: ``python recipes/wsj0_2mix/prepare.py WSJ0 LISTS``."""

import argparse
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from speech_level import active_power
from torch import Tensor

from torchsep import audio
from torchsep.data.augmentation import fit_length

sys.path.append(str(Path(__file__).resolve().parents[1]))
from preparing import complete_or_gone, run, say

SPLITS = ("tr", "cv", "tt")
LEVEL_RATE = 8000  # sample rate in Hz of level measurement for all versions
PEAK = 0.9  # maximum magnitude of the mixture and its speakers


def main(arguments: list[str] | None = None) -> int:
    options = parse_options(arguments)
    return run(lambda: prepare(options), options.output)


def parse_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wsj0", type=Path, help="folder that contains wsj0/; the paths in the lists are relative to it")
    parser.add_argument("lists", type=Path, help="folder with mix_2_spk_{tr,cv,tt}.txt")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("data/wsj0_mix"),
        help="output folder, must not exist (default: data/wsj0_mix)",
    )
    parser.add_argument("--speakers", type=int, default=2, choices=(2, 3), help="number of speakers")
    parser.add_argument(
        "--rates", type=int, nargs="+", default=[8000], choices=(8000, 16000), help="sample rates in Hz"
    )
    parser.add_argument(
        "--modes",
        nargs="+",
        default=["min"],
        choices=("min", "max"),
        help="truncate to the shortest or pad to the longest utterance",
    )
    return parser.parse_args(arguments)


@dataclass(frozen=True)
class Line:
    """A line of a list: recordings to mix and their gains in dB."""

    paths: tuple[str, ...]
    gains: tuple[float, ...]

    @property
    def name(self) -> str:
        """Name of the mixture, with gains rounded to five significant digits."""
        parts = zip(self.paths, self.gains, strict=True)
        return "_".join(f"{Path(path).stem}_{gain:.5g}" for path, gain in parts)


def prepare(options: argparse.Namespace) -> None:
    """Write all mixtures of the lists and their speakers to a new folder."""
    with complete_or_gone(options.output) as draft:
        lists = {split: read_list(options.lists, split, options.speakers) for split in SPLITS}
        check_recordings(options.wsj0, lists.values())
        for split, lines in lists.items():
            for done, line in enumerate(lines, 1):
                write(line, options, draft / f"{options.speakers}speakers", split)
                if done % 1000 == 0 or done == len(lines):
                    say(f"{split}: {done} of {len(lines)} mixtures")


def read_list(folder: Path, split: str, speakers: int) -> list[Line]:
    """Read the list of a split."""
    path = folder / f"mix_{speakers}_spk_{split}.txt"
    if not path.is_file():
        raise ValueError(f"{path}: is missing; it is one of the lists of mixtures, see the README")
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = text.split()
        if not words:
            continue
        gains = [number_in(word) for word in words[1::2]]
        if len(words) != 2 * speakers or not all(map(math.isfinite, gains)):
            rule = f"a path and a gain in dB for each of {speakers} speakers"
            raise ValueError(f"{path}: line {number} must be {rule}, got {text!r}")
        lines.append(Line(tuple(words[::2]), tuple(gains)))
    if not lines:
        raise ValueError(f"{path}: must list mixtures, got none")
    return lines


def number_in(word: str) -> float:
    """Parse a number; NaN if it is invalid."""
    try:
        return float(word)
    except ValueError:
        return math.nan


def check_recordings(wsj0: Path, lists: Iterable[list[Line]]) -> None:
    """Raise unless all recordings exist."""
    wanted = sorted({path for lines in lists for line in lines for path in line.paths})
    missing = [path for path in wanted if not (wsj0 / path).is_file()]
    if missing:
        got = f"{len(missing)} of {len(wanted)} are missing, the first {missing[0]}"
        raise ValueError(f"{wsj0}: must hold the recordings of the lists as wav files; {got}")


def write(line: Line, options: argparse.Namespace, folder: Path, split: str) -> None:
    """Write a mixture and its speakers at all sample rates and in all modes."""
    speakers = [read(options.wsj0 / path, gain) for path, gain in zip(line.paths, line.gains, strict=True)]
    names = ("mix", *(f"s{number + 1}" for number in range(len(speakers))))
    for rate in options.rates:
        waveforms = [audio.resample(waveform, own_rate, rate) for waveform, own_rate in speakers]
        for mode in options.modes:
            version = folder / f"wav{rate // 1000}k" / mode / split
            paths = [version / name / f"{line.name}.wav" for name in names]
            audio.write_sources(paths, mixed(waveforms, mode), rate, "PCM_16")


def read(path: Path, gain: float) -> tuple[Tensor, int]:
    """Read a recording ``(1, T)``, scaled to an active level of ``gain`` dB, and its sample rate."""
    waveform, rate = audio.read(path)
    waveform = waveform.mean(0, keepdim=True)
    power = active_power(audio.resample(waveform, rate, LEVEL_RATE)[0], LEVEL_RATE)
    if not power > 0:
        raise ValueError(f"{path}: must hold speech, got silence")
    return waveform * 10 ** (gain / 20) / math.sqrt(power), rate


def mixed(speakers: Sequence[Tensor], mode: str) -> Tensor:
    """Mixture and speakers ``(1 + S, 1, T)``, scaled jointly to a peak of 0.9."""
    length = (min if mode == "min" else max)(speaker.shape[-1] for speaker in speakers)
    sources = torch.stack([fit_length(speaker, length) for speaker in speakers])
    parts = torch.cat([sources.sum(0, keepdim=True), sources])
    return parts * (PEAK / parts.abs().max())


if __name__ == "__main__":
    sys.exit(main())
