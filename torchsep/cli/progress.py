"""A progress bar on a terminal, plain lines elsewhere."""

import sys
from typing import Self

import typer

from torchsep.cli.messages import printable

__all__ = ["Bar"]


class Bar:
    """A progress bar while its context is entered; not drawn unless standard error is a terminal.

    Args:
        label: shown before the bar.
        total: number of steps; None if unknown.
        quiet: whether nothing is drawn on a terminal either.
    """

    def __init__(self, label: str, total: int | None = None, *, quiet: bool = False) -> None:
        from rich.console import Console
        from rich.progress import Progress

        drawn = sys.stderr.isatty() and not quiet
        self._progress = Progress(console=Console(stderr=True), transient=True) if drawn else None
        self._task = self._progress.add_task(label, total=total) if self._progress else None

    def __enter__(self) -> Self:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()

    def advance(self) -> None:
        """Complete one step."""
        if self._progress and self._task is not None:
            self._progress.advance(self._task)

    def update(self, done: float, total: float | None, label: str | None = None) -> None:
        """Set the number of completed steps, their total if it is known, and the label if it changes."""
        if self._progress and self._task is not None:
            self._progress.update(self._task, completed=done, total=total, description=label)

    def say(self, line: str, *, is_error: bool = False) -> None:
        """Print a line: above the bar if there is one, else on standard output or error."""
        line = printable(line)
        if self._progress:
            self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            typer.echo(line, err=is_error)
