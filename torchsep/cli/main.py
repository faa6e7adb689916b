"""The commands by name."""

from typing import Annotated

import typer

import torchsep
from torchsep.cli import catalogue, demo, evaluate, export, report, separate, shard, train

__all__ = ["app", "main"]

app = typer.Typer(
    name="torchsep",
    help="Source separation: classical algorithms and deep models as one kind of module.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("separate")(separate.separate)
app.command("evaluate")(evaluate.evaluate)
app.command("train")(train.train)
app.command("report")(report.report)
app.command("export")(export.export)
app.command("shard")(shard.shard)
app.command("list")(catalogue.list_command)
app.command("info")(catalogue.info)
app.command("demo")(demo.demo)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - the signature of a callback
    if wanted:
        typer.echo(f"torchsep {torchsep.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Source separation: classical algorithms and deep models as one kind of module."""


def main() -> None:
    """Run the command line."""
    app()
