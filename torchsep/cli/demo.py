"""``torchsep demo``: separate a synthesised mixture."""

from pathlib import Path
from typing import Annotated

import typer

from torchsep.cli.messages import fail, parse_parameters

__all__ = ["demo"]


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the WAV files.")] = Path("torchsep-demo"),
    separator: Annotated[
        str,
        typer.Option(
            "--separator",
            "-s",
            help="Of two sources: a name from `torchsep list`, a checkpoint, or your own module:Class.",
        ),
    ] = "repet",
    parameter: Annotated[list[str] | None, typer.Option("--parameter", "-p", help="name=value, repeatable.")] = None,
    duration: Annotated[float, typer.Option(help="Seconds to synthesise.")] = 10.0,
) -> None:
    """Synthesise a mixture of music and voice, separate it, print the scores and write WAV files."""
    from torchsep.engine import run_demo

    try:
        result = run_demo(output, separator, parse_parameters(parameter or []), duration)
    except (ValueError, OSError, ImportError) as error:
        fail(error)
    typer.echo(f"A {duration:g} s stereo mixture of music and voice, separated by {separator}.")
    typer.echo(f"{'source':8}{'mixture':>10}{'estimate':>10}{'gain':>10}   SI-SDR in dB, higher is better")
    for name, (before, after) in result.scores.items():
        typer.echo(f"{name:8}{before:10.2f}{after:10.2f}{after - before:+10.2f}")
    typer.echo("Listen to:")
    for path in result.written:
        typer.echo(f"  {path}")
