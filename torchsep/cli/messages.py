"""Error messages and parsing shared by the commands."""

import re
from collections.abc import Sequence
from typing import Any, NoReturn

import typer

__all__ = ["INTERRUPTED", "fail", "parse_parameters", "printable"]

USAGE_ERROR = 2
INTERRUPTED = 130


def printable(text: str) -> str:
    r"""A text on one line, with control characters, line breaks and undecodable bytes as escapes.

    Example:
        >>> print(printable("a\nb.wav"))
        a\nb.wav
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", lambda found: ascii(found[0])[1:-1], text)


def fail(message: object, code: int = USAGE_ERROR) -> NoReturn:
    """End the command with one line on standard error."""
    typer.echo(printable(f"torchsep: {' '.join(str(message).split())}"), err=True)
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
