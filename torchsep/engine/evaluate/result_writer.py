"""Results of an evaluation on disk: a line of JSON for each item, complete whenever the run is interrupted."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchsep.engine.evaluate.result_reader import read_run, read_settings

__all__ = ["Results", "begin_run", "check_table", "write_json"]

_RUN = "run.json"
_COMMON = ("data", "metrics", "match", "sources")  # parts of a description that all runs in one table have in common
_CONTENT = "fingerprint"


class Results:
    """The result file of one process.

    Args:
        folder: of the results of one separator on one data set.
        writer: rank of the process.
    """

    def __init__(self, folder: Path, writer: int = 0) -> None:
        self.folder = folder
        self.path = folder / (f"results-{writer}.jsonl" if writer else "results.jsonl")

    def append(self, record: Mapping[str, Any]) -> None:
        """Append the result of an item; it is on disk on return."""
        line = json.dumps(_plain(record), ensure_ascii=False) + "\n"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def check_table(folder: Path, description: Mapping[str, Any]) -> None:
    """Raise unless the other runs in the same output folder are on the same data with the same metrics.

    Args:
        folder: of the results of one separator.
        description: what determines them.

    Raises:
        ValueError: if the runs would not be comparable in one table.
    """
    for described in sorted(folder.parent.glob(f"*/{_RUN}")):
        existing = read_settings(described.parent)
        if described.parent == folder or existing is None:
            continue
        wanted = {key: value for key, value in _plain(description).items() if key in _COMMON}
        different = [key for key, value in wanted.items() if key in existing and value != existing[key]]
        if different:
            name, was, now = _first_difference(different[0], existing[different[0]], wanted[different[0]])
            raise ValueError(
                f"output must hold results on one data set with the same settings, but {described.parent} has "
                f"{name} {json.dumps(was)}, not {json.dumps(now)}; choose another output"
            )


def _first_difference(name: str, was: Any, now: Any) -> tuple[str, Any, Any]:
    """The dotted name of the first setting that differs within two values, and what it was and is."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in (*was, *now):
            if was.get(key) != now.get(key):
                return _first_difference(f"{name}.{key}", was.get(key), now.get(key))
    return name, was, now


def begin_run(folder: Path, description: Mapping[str, Any], circumstances: Mapping[str, Any]) -> int:
    """Prepare a folder for results, or resume an earlier run of the same description in it.

    Args:
        folder: of the results.
        description: what determines the results: separator, data, metrics, and the ``fingerprint`` of the separator. If
            that alone has changed, the earlier results are removed.
        circumstances: what may differ between two runs of the same description.

    Returns:
        The number of items whose results were removed.

    Raises:
        ValueError: if the folder holds results of another description.
    """
    existing = read_settings(folder)
    if existing is None:
        write_json(folder / _RUN, {**description, **circumstances})
        return 0
    wanted = _plain(description)
    different = [key for key, value in wanted.items() if value != existing.get(key, {} if key == _CONTENT else None)]
    if different == [_CONTENT]:
        removed = len(read_run(folder).outcomes)
        for path in folder.glob("results*.jsonl"):
            path.unlink()
        write_json(folder / _RUN, {**description, **circumstances})
        return removed
    if different:
        was, now = (json.dumps(values.get(different[0])) for values in (existing, wanted))
        raise ValueError(
            f"output must not hold results of something else, but {folder} was run with {different[0]} {was}, not "
            f"{now}; choose another output, or overwrite=true"
        )
    for path in folder.glob("results*.jsonl"):
        whole, _, rest = path.read_bytes().rpartition(b"\n")
        if rest:  # a line that was being written when the run was interrupted
            os.truncate(path, len(whole) + 1 if whole else 0)
    return 0


def write_json(path: Path, values: Any) -> None:
    """Write a JSON file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(_plain(values), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(path)


def _plain(value: Any) -> Any:
    """Values that JSON can represent: NaN becomes null, infinity a string."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
