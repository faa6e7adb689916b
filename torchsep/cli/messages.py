"""Error messages and parsing shared by the commands."""

from collections.abc import Sequence
from typing import Any, NoReturn

import typer

__all__ = ["INTERRUPTED", "fail", "parse_parameters"]

USAGE_ERROR = 2
INTERRUPTED = 130


def fail(message: object, code: int = USAGE_ERROR) -> NoReturn:
    """End the command with one line on standard error."""
    typer.echo(f"torchsep: {' '.join(str(message).split())}", err=True)
    raise typer.Exit(code)


def parse_parameters(assignments: Sequence[str]) -> dict[str, Any]:
    """Arguments from ``name=value``, the values as YAML: numbers, lists, true, false, null or words.

    Raises:
        ValueError: if one has no name, or its value is not YAML.

    Example:
        >>> parse_parameters(["kernel_size=[17, 31]", "mask_type=binary", "power=1e1", "cutoff_hz=0100"])
        {'kernel_size': [17, 31], 'mask_type': 'binary', 'power': 10.0, 'cutoff_hz': 100}
    """
    from torchsep.engine.plain_yaml import parse_yaml

    parsed: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier():
            raise ValueError(f"-p must be given as name=value, got {assignment!r}")
        try:
            parsed[name] = parse_yaml(text, f"-p {name}")
        except ValueError as error:
            raise ValueError(f"-p {name} must be a number, a word or a [list], got {text!r}: {error}") from None
    return parsed
