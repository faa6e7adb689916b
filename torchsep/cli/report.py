"""``torchsep report``: an HTML page to listen to and compare results."""

from pathlib import Path
from typing import Annotated

import typer

from torchsep.cli.messages import INTERRUPTED, fail
from torchsep.cli.progress import Bar

__all__ = ["report"]


def report(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS_OR_FILES",
            help="Evaluation folders; or audio files, and folders of them as `torchsep separate` writes them.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page, one HTML file.")] = Path("report.html"),
    mixture: Annotated[
        list[Path] | None,
        typer.Option(
            help="With audio files: the mixture, named like the folder of its sources, or a folder of mixtures; "
            "repeatable.",
            show_default=False,
        ),
    ] = None,
    audio: Annotated[
        str,
        typer.Option(
            help="flac (16 bits, lossless), mp3 (smaller), or auto: flac if the page is estimated to stay below 25 MB, "
            "else mp3."
        ),
    ] = "auto",
    seconds: Annotated[float, typer.Option(help="Duration of the excerpt of each track; 0 for all of it.")] = 10.0,
    items: Annotated[int, typer.Option(help="Number of items with audio and spectrograms.")] = 20,
    masks: Annotated[bool, typer.Option("--masks", help="Also show the masks of the estimates.")] = False,
) -> None:
    """Write one self-contained HTML page with players, spectrograms and charts.

    Exit code: 0 if all is done, 1 if some audio could not be read (the page is written), 2 if the command is wrong.
    """
    from torchsep.report import ReportOptions, make_report
    from torchsep.report.sounds import SIZE_LIMIT

    try:
        options = ReportOptions(audio, seconds, items, masks)  # type: ignore[arg-type]  # checked there
        with Bar("writing") as bar:
            made = make_report(results, output, options, mixtures=mixture or [], receive=bar.update)
    except (ValueError, OSError, ImportError) as error:
        fail(error)
    except KeyboardInterrupt:
        fail("interrupted; no page was written", INTERRUPTED)
    separators = f"{_counted(made.separators, 'separator')}, " if made.separators else ""
    audible = f" ({made.num_audible} with audio)" if made.num_audible < made.items else ""
    encoding = f", {made.audio}" if made.num_audible else ""
    smaller = "--audio mp3, fewer --seconds or --items" if made.audio == "flac" else "fewer --seconds or --items"
    hint = f"; {smaller} make it smaller" if made.num_audible and made.size > SIZE_LIMIT else ""
    counts = f"{separators}{_counted(made.items, 'item')}{audible}"
    typer.echo(f"{made.path}: {counts}{encoding}, {made.size / 1e6:.1f} MB{hint}")
    for line in made.errors:
        typer.echo(f"failed: {line}", err=True)
    if made.errors:
        fail(f"{_counted(len(made.errors), 'track')} could not be read and were left out of {made.path}", code=1)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
