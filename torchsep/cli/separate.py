"""``torchsep separate``: separate audio files into their sources."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchsep.cli.messages import INTERRUPTED, fail, parse_parameters
from torchsep.cli.progress import Bar

if TYPE_CHECKING:
    from torchsep.engine import FileResult

__all__ = ["separate"]


def separate(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Audio files, or folders of them.", show_default=False)
    ],
    separator: Annotated[
        str,
        typer.Option(
            "--separator",
            "-s",
            help="A name from `torchsep list`, a checkpoint, a YAML file, or your own module:Class.",
            show_default=False,
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
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    format_: Annotated[str, typer.Option("--format", help="wav, flac, ogg, mp3 or aiff.")] = "wav",
    subtype: Annotated[str | None, typer.Option(help="PCM_16, PCM_24, FLOAT, ...; 24 bits if possible.")] = None,
    overflow: Annotated[
        str | None,
        typer.Option(help="Above full scale: float, rescale (all sources together) or clip; float if possible."),
    ] = None,
) -> None:
    """Separate audio files; sources keep the sample rate and number of channels of each file.

    Exit code: 0 if all is done, 1 if some files failed (the others are done), 2 if the command is wrong.
    """
    from torchsep import audio
    from torchsep.engine import WriteOptions, configure, device_overrides, find_inputs, separate_files

    try:
        config, choice = configure(device_overrides(device), separator, parse_parameters(parameter or []))
        audio.check_encoding(format_, subtype, overflow)
        inputs = find_inputs(files, output)
        if output.exists() and not output.is_dir():
            raise ValueError(f"-o must be a folder, got the file {output}")
    except (ValueError, OSError, ImportError) as error:
        fail(error)
    reporter = _Reporter(len(inputs.files))
    options = WriteOptions(format_, subtype, overflow)  # type: ignore[arg-type]  # checked just above
    try:
        with reporter:
            for note in inputs.notes:
                reporter.say(note, is_error=True)
            results = separate_files(
                inputs,
                choice,
                output,
                options,
                window_duration=window,
                trainer=config.trainer,
                receive=reporter,
            )
    except ValueError as error:
        fail(error)
    except KeyboardInterrupt:
        fail(f"interrupted; {reporter.done} of {len(inputs.files)} files are done, their sources complete", INTERRUPTED)
    failed = [result for result in results if result.error]
    if failed:
        names = ", ".join(str(result.path) for result in failed)
        fail(f"{len(failed)} of {len(inputs.files)} files failed: {names}", code=1)


class _Reporter(Bar):
    """Progress, and a line for each file."""

    def __init__(self, total: int) -> None:
        super().__init__("separating", total)
        self.done = 0

    def __call__(self, result: "FileResult") -> None:
        """Print one result."""
        if result.error:
            self.say(f"failed: {result.error}", is_error=True)
        else:
            self.done += 1
            note = f" ({result.note})" if result.note else ""
            names = ", ".join(path.name for path in result.written)
            took = f"{result.duration:.1f} s in {result.seconds:.2f} s"
            self.say(f"{result.path} -> {result.written[0].parent}: {names}; {took}{note}")
        self.advance()
