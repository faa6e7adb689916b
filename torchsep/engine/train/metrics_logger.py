"""The learning curves of a training run as a CSV file that a resumed run continues."""

import csv
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger

__all__ = ["ResumableCSVLogger"]


class ResumableCSVLogger(CSVLogger):
    """Log to ``metrics.csv``, one row for each step; rows of steps before the first one are kept.

    Args:
        folder: of the run.
        first_step: first step that will be logged; zero for a new run.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        super().__init__(folder, name="", version="")
        self._kept = _rows(folder / "metrics.csv", first_step)

    @property
    def experiment(self) -> Any:
        """The writer, which first writes the rows that are kept."""
        begins = self._experiment is None
        writer = super().experiment  # deletes an existing file
        if begins and self._experiment is not None:
            writer.metrics = [*self._kept]
            writer.save()
        return writer


def _rows(path: Path, end: int) -> list[dict[str, str]]:
    """The rows of steps before the end, without a line cut by a killed process."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        lines = [line for line in file if line.endswith("\n")]
    rows = [{name: value for name, value in row.items() if value} for row in csv.DictReader(lines)]
    return [row for row in rows if int(row["step"]) < end]
