"""The commands by name."""

import typer

from torchsep.cli import catalogue, demo, separate

__all__ = ["app", "main"]

app = typer.Typer(
    name="torchsep",
    help="Source separation: classical algorithms and deep models as one kind of module.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("separate")(separate.separate)
app.command("list")(catalogue.list_command)
app.command("info")(catalogue.info)
app.command("demo")(demo.demo)


def main() -> None:
    """Run the command line."""
    app()
