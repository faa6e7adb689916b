"""``torchsep list`` and ``torchsep info``: the separators and their parameters."""

import inspect
from typing import TYPE_CHECKING, Annotated

import typer

from torchsep.cli.messages import fail
from torchsep.cli.plain_text import sections_of, without_markdown, without_roles
from torchsep.cli.separator_table import models, separators

if TYPE_CHECKING:
    from torchsep.separators import Separator

__all__ = ["info", "list_command"]


def list_command() -> None:
    """List the separators and the shipped models: name, sources, what each is for."""
    rows = [*separators(), *models()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, sources, use in rows:
        typer.echo(f"{name:{widths[0]}}  {sources:{widths[1]}}  {use}")


def info(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A name from `torchsep list`, a checkpoint, or your own module:Class or file.py:Class."
        ),
    ],
) -> None:
    """Show the parameters, defaults and references of a separator, or the card of a model."""
    from torchsep.engine import describe

    try:
        described = describe(name)
    except (ValueError, OSError, ImportError) as error:
        fail(error)
    if isinstance(described, str):
        typer.echo(without_markdown(described))
    else:
        _show(name, described)


def _show(name: str, kind: "type[Separator]") -> None:
    """Print what the docstrings and signatures of a class say."""
    sections = sections_of(inspect.getdoc(kind) or "")
    row = next((row for row in separators() if row.name == name), None)
    typer.echo(f"{name}: {without_roles(sections[''])}\n")
    if row is not None:
        typer.echo(f"use: {row.use}")
    typer.echo(f"sources: {row.sources if row else ', '.join(kind.names) or 'those that it returns'}")
    if kind.channels is not None:
        typer.echo(f"channels: {kind.channels}")
    if kind.requires:
        typer.echo(f"needs: the mixture and {', '.join(kind.requires)}")
    if kind.trainable_parameters:
        typer.echo(f"trainable: {', '.join(kind.trainable_parameters)}")
    typer.echo("\nparameters:")
    described = _descriptions(kind)
    for argument, parameter in kind.arguments().items():
        default = "required" if parameter.default is inspect.Parameter.empty else f"default {parameter.default!r}"
        typer.echo(f"  {argument} ({default}): {described.get(argument, '')}")
    for section in ("Shape", "Raises", "Gradient", "References"):
        if section in sections:
            typer.echo(f"\n{section.lower()}:\n{_indented(without_roles(sections[section]))}")


def _descriptions(kind: "type[Separator]") -> dict[str, str]:
    """The description of each argument, on one line, from the docstrings of a class and its bases."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        found |= sections_of(sections_of(inspect.cleandoc(base.__doc__ or "")).get("Args", ""), r"(?m)^(\w+): ")
    return {name: " ".join(without_roles(text).split()) for name, text in found.items()}


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
