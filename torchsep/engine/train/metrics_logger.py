"""The curves of a training run, in a table that goes on where the run does."""

import csv
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger

__all__ = ["ResumableCSVLogger"]


class ResumableCSVLogger(CSVLogger):
    """Writes what is logged to ``metrics.csv``, a row for each step; those of steps before the first are kept.

    Args:
        folder: of the run.
        first_step: of what will be logged; zero for a run that begins.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        super().__init__(folder, name="", version="")
        self._kept = _rows(folder / "metrics.csv", first_step)

    @property
    def experiment(self) -> Any:
        """What writes; the rows that are kept are the first it writes."""
        begins = self._experiment is None
        writer = super().experiment  # which takes an old table away
        if begins and self._experiment is not None:
            writer.metrics = [*self._kept]
            writer.save()
        return writer


def _rows(path: Path, end: int) -> list[dict[str, str]]:
    """The rows of steps before the end, without one that was being written when the process was killed."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        lines = [line for line in file if line.endswith("\n")]
    rows = [{name: value for name, value in row.items() if value} for row in csv.DictReader(lines)]
    return [row for row in rows if int(row["step"]) < end]
