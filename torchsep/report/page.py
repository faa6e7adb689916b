"""A page written from its template, piece by piece."""

import base64
import hashlib
import os
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from torchsep.report.measures import format_figure
from torchsep.report.pictures import RANGE
from torchsep.report.views import Page

__all__ = ["write_page"]

_TEMPLATES = Path(__file__).with_name("templates")


def write_page(page: Page, path: Path) -> int:
    """The size in bytes of a page that was written; no file appears or changes before it is complete.

    Raises:
        ImportError: if jinja2 or matplotlib is not installed.
        OSError: if the file cannot be written.
    """
    template, parts = _template()
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    hidden = target.with_name(f".torchsep-{uuid.uuid4().hex}.html")
    try:
        with hidden.open("x", encoding="utf-8", newline="\n") as stream:
            for piece in template.generate(page=page, range=RANGE, **parts):
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())
        hidden.replace(target)
    finally:
        with suppress(OSError):  # missing, as a rule
            hidden.unlink()
    return target.stat().st_size


def _template() -> tuple[Any, dict[str, Any]]:
    """The template, and the style and the scripts that it puts into the page with their hashes."""
    try:
        import matplotlib  # noqa: F401, ICN001 - to know that it is there, before any work is done
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        message = f"{error.name} must be installed for reports: pip install 'torchsep[report]'"
        raise ImportError(message) from None
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["format_figure"] = format_figure
    style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    scripts = [(_TEMPLATES / name).read_text(encoding="utf-8") for name in ("engines.js", "player.js", "page.js")]
    # The page allows these and nothing else, whatever a name in it says.
    parts = {
        "style": Markup(style),  # noqa: S704 - files of this package
        "scripts": [Markup(script) for script in scripts],  # noqa: S704
        "style_hash": _hash(style),
        "script_hashes": [_hash(script) for script in scripts],
    }
    return environment.get_template("page.html"), parts


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
