"""Results of an evaluation on disk: a line of JSON for each item, whole whenever the run is ended."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Results", "begin_run", "read_records", "read_run", "runs_in", "write_json"]

_RUN = "run.json"


class Results:
    """The file that one process adds its results to.

    Args:
        folder: of the results of one separator on one data set.
        writer: number of the process.
    """

    def __init__(self, folder: Path, writer: int = 0) -> None:
        self.folder = folder
        self.path = folder / (f"results-{writer}.jsonl" if writer else "results.jsonl")

    def append(self, record: Mapping[str, Any]) -> None:
        """Add the result of an item; it is on disk on return."""
        line = json.dumps(_plain(record), ensure_ascii=False) + "\n"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def begin_run(folder: Path, description: Mapping[str, Any], circumstances: Mapping[str, Any]) -> None:
    """Make a folder ready for results: what lies there of an earlier run of the same description is gone on with.

    Args:
        folder: of the results.
        description: what is run: separator, data, metrics.
        circumstances: what may differ between two runs of the same.

    Raises:
        ValueError: if results of something else lie there.
    """
    lying = read_run(folder)
    if lying is None:
        write_json(folder / _RUN, {**description, **circumstances})
        return
    different = [key for key, value in _plain(description).items() if value != lying.get(key)]
    if different:
        was, now = (json.dumps(values.get(different[0])) for values in (lying, _plain(description)))
        raise ValueError(
            f"output must not hold results of something else, but {folder} was run with {different[0]} {was}, not "
            f"{now}; choose another output, or overwrite=true"
        )
    for path in folder.glob("results*.jsonl"):
        whole, _, rest = path.read_bytes().rpartition(b"\n")
        if rest:  # a line that was being written when the run was ended
            os.truncate(path, len(whole) + 1 if whole else 0)


def read_run(folder: Path) -> dict[str, Any] | None:
    """What was run to get the results in a folder; None if there are none."""
    path = folder / _RUN
    if not path.is_file():
        return None
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(run, dict):
        raise ValueError(f"{path} must hold a mapping, got {type(run).__name__}")
    return run


def read_records(folder: Path) -> list[dict[str, Any]]:
    """The results of all items in a folder, each once, the newest; a half-written last line is passed over.

    Raises:
        ValueError: if another line is not JSON.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("results*.jsonl")):
        lines = path.read_text(encoding="utf-8").split("\n")
        for number, line in enumerate(lines, 1):
            if not line:
                continue
            try:
                record = json.loads(line)
                found[record["id"]] = record
            except (ValueError, KeyError, TypeError) as error:
                if number == len(lines):
                    continue
                raise ValueError(f"{path} is broken in line {number}: {error}") from None
    return list(found.values())


def runs_in(folder: Path) -> Iterator[Path]:
    """The folders of results in the output folder of an evaluation, or it itself."""
    yield from sorted(path.parent for path in (*folder.glob(_RUN), *folder.glob(f"*/{_RUN}")))


def write_json(path: Path, values: Any) -> None:
    """A JSON file, which is the old one or the new one at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(_plain(values), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(path)


def _plain(value: Any) -> Any:
    """Values as JSON has them: what is not a number is null, and infinity a word."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
