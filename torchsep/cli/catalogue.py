"""``torchsep list`` and ``torchsep info``: the separators and their parameters."""

import inspect
import re
from typing import Annotated

import typer

from torchsep import checkpoint, registry
from torchsep.cli.messages import fail
from torchsep.resources import resource_folder
from torchsep.separators import Separator

__all__ = ["info", "list_command"]


def list_command() -> None:
    """List the separators and the shipped checkpoints: name, sources, summary."""
    rows = []
    for name in registry.list_separators():
        kind = registry.separator_class(name)
        needs = f" (needs the true {', '.join(kind.requires)})" if kind.requires else ""
        rows.append((name, _sources(kind), _summary(kind) + needs))
    for name in checkpoint.released():
        header = checkpoint.read_header(name)
        summary = header["about"]["summary"].partition(". ")[0].rstrip(".")
        rows.append((name, ", ".join(header["names"]), f"{summary}."))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, sources, summary in rows:
        typer.echo(f"{name:{widths[0]}}  {sources:{widths[1]}}  {summary}")


def info(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a separator, as `torchsep list` shows it.")],
) -> None:
    """Show the parameters, defaults and references of a separator, or the card of a shipped checkpoint."""
    if name in checkpoint.released():
        typer.echo((resource_folder("checkpoints") / name / "README.md").read_text(encoding="utf-8"))
        return
    try:
        _show(name, registry.separator_class(name))
    except ValueError as error:
        fail(error)


def _show(name: str, kind: type[Separator]) -> None:
    sections = _sections(inspect.getdoc(kind) or "")
    typer.echo(f"{name}: {sections['']}\n")
    typer.echo(f"sources: {_sources(kind)}")
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
            typer.echo(f"\n{section.lower()}:\n{_indented(sections[section])}")


def _sources(kind: type[Separator]) -> str:
    """The names of a class's sources, if they do not depend on its arguments."""
    return ", ".join(kind.names) or ("those of the mixture" if kind.requires else "any number")


def _summary(kind: type[Separator]) -> str:
    """The first line of the docstring."""
    return (inspect.getdoc(kind) or "").split("\n", 1)[0]


def _sections(text: str) -> dict[str, str]:
    """A Google-style docstring by section; the text before the first has an empty name."""
    parts = re.split(r"(?m)^(Args|Shape|Raises|Gradient|Example|References):\n", text)
    named = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {"": parts[0].strip(), **{name: inspect.cleandoc(body) for name, body in named.items()}}


def _descriptions(kind: type[Separator]) -> dict[str, str]:
    """The description of each argument, from the docstrings of a class and its bases."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        found |= _arguments(_sections(inspect.cleandoc(base.__doc__ or "")).get("Args", ""))
    return found


def _arguments(section: str) -> dict[str, str]:
    """The description of each argument, on one line each."""
    parts = re.split(r"(?m)^(\w+): ", section)
    return {name: " ".join(text.split()) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
