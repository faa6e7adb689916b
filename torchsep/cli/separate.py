"""``torchsep separate``: separate audio files into their sources."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchsep.cli.messages import INTERRUPTED, fail, parse_parameters
from torchsep.cli.progress import Bar
from torchsep.cli.separator_table import models, separators

if TYPE_CHECKING:
    from torchsep.engine import FileResult

__all__ = ["separate"]


def _names(incomplete: str) -> list[str]:
    """Names for shell completion."""
    return [row.name for row in (*separators(), *models()) if row.name.startswith(incomplete)]


def separate(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help='Audio files, folders of them, quoted patterns such as "music/*.wav", or - for standard input.',
            show_default=False,
        ),
    ],
    separator: Annotated[
        str,
        typer.Option(
            "--separator",
            "-s",
            help="A name from `torchsep list`, a checkpoint, a YAML file, or your own module:Class.",
            show_default=False,
            autocompletion=_names,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="For the sources, as OUTPUT/METHOD/FILE/SOURCE.wav.")
    ] = Path("separated"),
    parameter: Annotated[list[str] | None, typer.Option("--parameter", "-p", help="name=value, repeatable.")] = None,
    window: Annotated[
        float | None,
        typer.Option(
            help="Seconds: separate in windows that overlap by half, in memory that does not grow with the file; "
            "by default whole files, or windows of up to 60 s if memory is short.",
            show_default=False,
        ),
    ] = None,
    high_band: Annotated[
        str,
        typer.Option(help="Above half the sample rate of a model: drop, or share between the sources, not separated."),
    ] = "drop",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    format_: Annotated[str, typer.Option("--format", help="wav, flac, ogg, mp3 or aiff.")] = "wav",
    subtype: Annotated[str | None, typer.Option(help="PCM_16, PCM_24, FLOAT, ...; 24 bits if possible.")] = None,
    bitrate: Annotated[int | None, typer.Option(help="Of MP3, constant, in kbit/s.", show_default=False)] = None,
    quality: Annotated[
        float | None, typer.Option(help="Of OGG and MP3, from 0 (smallest) to 10 (best).", show_default=False)
    ] = None,
    overflow: Annotated[
        str | None,
        typer.Option(help="Above full scale: float, rescale (all sources together) or clip; float if possible."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print failures only.")] = False,
) -> None:
    """Separate audio files; sources keep the sample rate and number of channels of each file.

    Exit code: 0 if all is done, 1 if some files failed (the others are done), 2 if the command is wrong.
    """
    from torchsep import audio
    from torchsep.engine import (
        WriteOptions,
        configure,
        device_overrides,
        find_inputs,
        separate_files,
        with_standard_input,
    )

    reporter = _Reporter(files, quiet=quiet)
    try:
        config, choice = configure(device_overrides(device), separator, parse_parameters(parameter or []), high_band)
        compression = audio.Compression(bitrate, quality)
        audio.check_encoding(format_, subtype, overflow, compression)
        options = WriteOptions(format_, subtype, overflow, compression)  # type: ignore[arg-type]  # checked just above
        if output.exists() and not output.is_dir():
            raise ValueError(f"-o must be a folder, got the file {output}")
        with with_standard_input(files) as paths:
            inputs = find_inputs(paths, output)
            reporter.begin(paths, inputs.files, inputs.notes)
            with reporter:
                results = separate_files(
                    inputs, choice, output, options, window_duration=window, trainer=config.trainer, receive=reporter
                )
    except (ValueError, OSError, ImportError) as error:
        fail(error)
    except KeyboardInterrupt:
        fail(f"interrupted; {reporter.done} of {reporter.total} files are done, their sources complete", INTERRUPTED)
    failed = [result for result in results if result.error]
    if failed:
        names = ", ".join(reporter.shown(str(result.path)) for result in failed)
        fail(f"{len(failed)} of {reporter.total} files failed: {names}", code=1)


class _Reporter(Bar):
    """Progress, and a line for each file."""

    def __init__(self, arguments: Sequence[Path], *, quiet: bool) -> None:
        super().__init__("separating", quiet=quiet)
        self.done = self.total = 0
        self._finished = 0
        self._quiet = quiet
        self._arguments = arguments
        self._piped = ""

    def begin(self, paths: Sequence[Path], files: Sequence[Path], notes: Sequence[str]) -> None:
        """Take the paths that stand for the arguments, and the files found there; print notes."""
        self._piped = next((str(path) for path, given in zip(paths, self._arguments, strict=True) if path != given), "")
        self.total = len(files)
        self.update(0, self.total)
        for note in () if self._quiet else notes:
            self.say(note, is_error=True)

    def shown(self, text: str) -> str:
        """A text with standard input called by its name."""
        return text.replace(self._piped, "standard input") if self._piped else text

    def __call__(self, news: "FileResult | float") -> None:
        """Print one result, or show the part of a file that is done."""
        if isinstance(news, float):
            self.update(self._finished + news, self.total)
            return
        if news.error:
            self.say(self.shown(f"failed: {news.error}"), is_error=True)
        else:
            self.done += 1
            note = f" ({news.note})" if news.note else ""
            names = ", ".join(path.name for path in news.written)
            took = f"{news.duration:.1f} s in {news.seconds:.2f} s"
            if not self._quiet:
                self.say(self.shown(f"{news.path} -> {news.written[0].parent}: {names}; {took}{note}"))
        self._finished += 1
        self.update(self._finished, self.total)
