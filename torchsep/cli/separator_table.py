"""What ``torchsep list`` shows, read from shipped files, since importing the separators takes seconds."""

import json
import re
from typing import NamedTuple

from torchsep.resources import resource_folder

__all__ = ["Row", "models", "separators"]


class Row(NamedTuple):
    """A separator or model: its name, its sources, and what it is for."""

    name: str
    sources: str
    use: str


def separators() -> list[Row]:
    """The separators of the library, in alphabetical order, from the table of the documentation.

    Example:
        >>> separators()[-1].name
        'wiener_filter'
    """
    page = (resource_folder("docs") / "separators.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| `(\w+)` \| (.+?) \| (.+?) \|$", page)
    return sorted(Row(name, sources.replace("`", ""), use.replace("`", "")) for name, sources, use in rows)


def models() -> list[Row]:
    """The shipped checkpoints, in alphabetical order, from their headers."""
    rows = []
    for file in sorted(resource_folder("checkpoints").glob("*/model.safetensors")):
        header = file.with_name("config.json")
        known = json.loads(header.read_text(encoding="utf-8")) if header.is_file() else {}
        summary = known.get("about", {}).get("summary", "").partition(". ")[0].rstrip(".")
        rows.append(Row(file.parent.name, ", ".join(known.get("names", ())), summary))
    return rows
