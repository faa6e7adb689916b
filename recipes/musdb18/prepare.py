"""Decode MUSDB18, one MP4 file for each song, to WAV files for data=musdb18hq."""

import argparse
import importlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from preparing import complete_or_gone, run, say

SPLITS = ("train", "test")
STREAMS = ("mixture", "drums", "bass", "other", "vocals")
SUFFIX = ".stem.mp4"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("musdb18", type=Path, help=f"folder with train/ and test/, which hold NAME{SUFFIX}")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("data/musdb18"),
        help="output folder, must not exist (default: data/musdb18)",
    )
    options = parser.parse_args(arguments)
    return run(lambda: prepare(options.musdb18, options.output), options.output)


def prepare(source: Path, output: Path) -> None:
    decoder = find_ffmpeg()
    songs = {split: sorted((source / split).glob(f"*{SUFFIX}")) for split in SPLITS}
    for split, paths in songs.items():
        if not paths:
            raise ValueError(f"{source / split}: must hold files named NAME{SUFFIX}, has none")
    with complete_or_gone(output) as draft:
        for split, paths in songs.items():
            for number, path in enumerate(paths, start=1):
                decode(decoder, path, draft / split / path.name.removesuffix(SUFFIX))
                say(f"{split}: {number}/{len(paths)} {path.name}")


def find_ffmpeg() -> str:
    """The ffmpeg of the system, or that of the package imageio-ffmpeg.

    Raises:
        ValueError: if there is neither.
    """
    found = shutil.which("ffmpeg")
    if found is not None:
        return found
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        raise ValueError("ffmpeg must be installed to decode MP4: from ffmpeg.org, or pip install imageio-ffmpeg")
    return str(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())


def decode(decoder: str, path: Path, folder: Path) -> None:
    """Decode the streams of a song, which are the mixture and its stems, in one call."""
    folder.mkdir(parents=True)
    outputs: list[str] = []
    for number, name in enumerate(STREAMS):
        outputs += ["-map", f"0:a:{number}", "-c:a", "pcm_s16le", str(folder / f"{name}.wav")]
    # An absolute path cannot be taken for an option or a protocol.
    command = [decoder, "-v", "error", "-nostdin", "-i", f"file:{path.absolute()}", *outputs]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise ValueError(f"{path}: must have {len(STREAMS)} audio streams, ffmpeg says: {reason[-300:]}")


if __name__ == "__main__":
    sys.exit(main())
