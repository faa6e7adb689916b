"""Rendering of a page from its template, as a stream."""

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
    """Write a page atomically and return its size in bytes.

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
        with suppress(OSError):  # usually missing
            hidden.unlink()
    return target.stat().st_size


def _template() -> tuple[Any, dict[str, Any]]:
    """The template, and the style and scripts with their hashes."""
    try:
        import matplotlib  # noqa: F401, ICN001 - checks the installation early
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
    # The content security policy of the page allows only these.
    parts = {
        "style": Markup(style),  # noqa: S704 - files of this package
        "scripts": [Markup(script) for script in scripts],  # noqa: S704
        "style_hash": _hash(style),
        "script_hashes": [_hash(script) for script in scripts],
    }
    return environment.get_template("page.html"), parts


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
