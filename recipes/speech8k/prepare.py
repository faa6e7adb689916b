"""Lay out the corpus speech8k for training: ``python recipes/speech8k/prepare.py CORPUS --output data/speech8k``."""

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import clips
import torch
from speakers import SPEAKERS, Speaker
from synthesis import VOICES, Voice
from torch import Generator, Tensor

from torchsep import audio

sys.path.append(str(Path(__file__).resolve().parents[1]))
from preparing import complete_or_gone, run, say

SPLITS = ("train", "valid", "test")
KEYS = ("file", "split", "speaker", "sha256")  # required for each file in the manifest
SECONDS = 300.0  # maximum duration per speaker in seconds, so that none dominates
SEED = 0


def main(arguments: list[str] | None = None) -> int:
    options = parse_options(arguments)
    return run(lambda: prepare(options.corpus, options.output, options.voices), options.output)


def parse_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, help="folder of speech8k that contains MANIFEST.json")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("data/speech8k"),
        help="output folder, must not exist (default: data/speech8k)",
    )
    parser.add_argument(
        "--voices",
        nargs="?",
        type=Path,
        const=Path("/"),
        metavar="ROOT",
        help="add speakers of Debian packages to the training split; root of the unpacked packages (default: /)",
    )
    return parser.parse_args(arguments)


def prepare(corpus: Path, output: Path, voices: Path | None) -> None:
    """Lay out the corpus in a new folder, optionally with additional speakers in its training split."""
    with complete_or_gone(output) as draft:
        files = listed(corpus)
        if voices is not None:
            check_voices(voices)
        lay_out(corpus, files, draft)
        if voices is not None:
            rows = [*add_speakers(voices, draft / "train"), *add_voices(draft / "train")]
            (draft / "voices.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def listed(corpus: Path) -> list[dict[str, Any]]:
    """Files of the manifest, after verifying that each exists and matches its checksum."""
    manifest = corpus / "MANIFEST.json"
    if not manifest.is_file():
        raise ValueError(f"{corpus}: must be a folder of speech8k, got one without MANIFEST.json")
    try:
        files = [dict(file) for file in json.loads(manifest.read_text(encoding="utf-8"))["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{manifest}: must list the files of speech8k, got {error!r}") from None
    for file in files:
        missing = [key for key in KEYS if not isinstance(file.get(key), str)]
        if missing:
            raise ValueError(f"{manifest}: must contain {missing[0]} for every file, got {file.get('file')!r} without")
        check_names(file, manifest)
        path = corpus / file["file"]
        if not path.is_file():
            raise ValueError(f"{path}: is missing, but listed in MANIFEST.json")
        if hashlib.sha256(path.read_bytes()).hexdigest() != file["sha256"]:
            raise ValueError(f"{path}: does not match its sha256 in MANIFEST.json")
    return files


def check_names(file: dict[str, Any], manifest: Path) -> None:
    """Raise unless the paths in a manifest entry stay within the corpus and the output folder."""
    path = PurePosixPath(file["file"])
    if file["split"] not in SPLITS:
        raise ValueError(f"{manifest}: split must be one of {', '.join(SPLITS)}, got {file['split']!r}")
    if path.is_absolute() or ".." in path.parts or folder_of(file).startswith("."):
        raise ValueError(f"{manifest}: must name files and speakers of the corpus, got {file['file']!r}")


def folder_of(file: dict[str, Any]) -> str:
    """Folder of a file: its speaker, or the group of speakers that may be one person."""
    return str(file.get("group") or file["speaker"]).replace("/", "-")


def lay_out(corpus: Path, files: Iterable[dict[str, Any]], draft: Path) -> None:
    """Lay out the files as ``<split>/<speaker>/*.flac``."""
    for file in files:
        link(corpus / file["file"], draft / file["split"] / folder_of(file) / PurePosixPath(file["file"]).name)


def link(source: Path, target: Path) -> None:
    """Create a hard link, or a copy if links are not supported."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise ValueError(f"{source}: must have a unique name among the files of its speaker")
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def check_voices(root: Path) -> None:
    """Raise unless all packages and programs are available."""
    missing = {speaker.package for speaker in SPEAKERS if not speaker.recordings(root)}
    missing |= {voice.package for voice in VOICES if shutil.which(voice.program) is None}
    if missing:
        raise ValueError(f"{root}: must hold all packages of voices; apt-get install {' '.join(sorted(missing))}")


def add_speakers(root: Path, folder: Path) -> Iterator[dict[str, Any]]:
    """Write utterances of the speakers of the packages, and yield a summary of each."""
    for speaker in SPEAKERS:
        yield add(speaker, folder / speaker.folder, recorded(speaker, root), SECONDS)


def add_voices(folder: Path) -> Iterator[dict[str, Any]]:
    """Write utterances of the synthesised voices, and yield a summary of each."""
    with tempfile.TemporaryDirectory(prefix="torchsep-") as scratch:
        for voice in VOICES:
            wave = voice.speak(Path(scratch), SEED)
            yield add(voice, folder / voice.name, [list(clips.pieces(clips.read(wave)[0]))], voice.seconds)
            wave.unlink()


def recorded(speaker: Speaker, root: Path) -> list[list[Tensor]]:
    """Segments of the recordings of a speaker, grouped by format, which identifies a recording session."""
    files = speaker.recordings(root)
    found: dict[tuple[int, int], list[Tensor]] = {}
    seconds = 0.0
    for index in torch.randperm(len(files), generator=generator_of(speaker.name)).tolist():
        try:
            waveform, kind = clips.read(files[index])
        except ValueError as error:
            say(f"skipped: {error}", error=True)
            continue
        if speaker.pitch is not None and not speaker.pitch[0] <= clips.pitch(waveform) <= speaker.pitch[1]:
            continue
        parts = list(clips.pieces(waveform))
        found.setdefault(kind, []).extend(parts)
        seconds += sum(map(len, parts)) / clips.RATE
        if seconds > SECONDS:
            break
    return [found[kind] for kind in sorted(found)]


def add(voice: Speaker | Voice, folder: Path, sessions: Iterable[list[Tensor]], seconds: float) -> dict[str, Any]:
    """Write the utterances of a speaker up to a maximum total duration, and return a summary."""
    generator = generator_of(voice.name)
    written, count = 0.0, 0
    for utterance in chain.from_iterable(clips.utterances(parts, generator) for parts in sessions):
        if written + utterance.shape[-1] / clips.RATE > seconds:
            break
        audio.write(folder / f"{voice.name}_{count:03d}.flac", utterance, clips.RATE, "PCM_16")
        written += utterance.shape[-1] / clips.RATE
        count += 1
    if not count:
        raise ValueError(f"{voice.package}: must hold at least a second of {voice.name}, got none")
    say(f"{voice.name}: {count} utterances, {written:.0f} s")
    return {
        "name": voice.name,
        "folder": folder.name,
        "package": voice.package,
        "licence": voice.licence,
        "recorded": isinstance(voice, Speaker),
        "utterances": count,
        "seconds": round(written, 2),
    }


def generator_of(name: str) -> Generator:
    """Random generator of a speaker, independent of the other speakers."""
    digest = hashlib.sha256(f"{SEED} {name}".encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:7], "big"))


if __name__ == "__main__":
    sys.exit(main())
