"""The card of a released model: summary, usage, training, metrics, licences and references."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torchsep.configurable import registry_name
from torchsep.networks import Network
from torchsep.separators import Separator

__all__ = ["model_card"]


def model_card(name: str, header: Mapping[str, Any], separator: Separator, path: Path) -> str:
    """A model card in Markdown, with front matter for the Hugging Face hub.

    Args:
        name: of the model.
        header: of the checkpoint, see :func:`torchsep.checkpoint.read_header`.
        separator: the loaded separator.
        path: of the checkpoint file.
    """
    about = header["about"]
    sections = (_front_matter(separator, about), _heading(name, separator, about, path), _use(name, separator))
    parts = [*sections, *_training(about), *_metrics(about), *_lists(about), _file(header, path)]
    return "\n\n".join(parts) + "\n"


def _front_matter(separator: Separator, about: Mapping[str, Any]) -> str:
    tags = ["audio-source-separation", "torchsep", registry_name(type(separator))]
    lines = ["---", "library_name: torchsep", "pipeline_tag: audio-to-audio", f"tags: {json.dumps(tags)}"]
    licence = about.get("licences", {}).get("weights")
    if licence is not None:
        is_identifier = re.fullmatch(r"[\w.-]+", licence, re.ASCII) is not None
        lines.append(f"license: {json.dumps(licence.lower() if is_identifier else 'other')}")
        lines += [] if is_identifier else [f"license_name: {json.dumps(licence)}"]
    return "\n".join([*lines, "---"])


def _heading(name: str, separator: Separator, about: Mapping[str, Any], path: Path) -> str:
    networks = [module for module in separator.modules() if isinstance(module, Network)]
    kinds = f"`{registry_name(type(separator))}`" + (f" with `{registry_name(type(networks[0]))}`" if networks else "")
    sources = f"{len(separator.names)} sources ({', '.join(separator.names)})" if separator.names else "its sources"
    channels = "any number of channels" if separator.channels is None else f"{separator.channels} channels"
    learned = sum(parameter.numel() for parameter in separator.parameters())
    size = path.stat().st_size / 1e6
    facts = f"{kinds}: {sources} at {separator.sample_rate} Hz, {channels}; {learned:,} parameters in {size:.1f} MB."
    summary = f"{_text(about['summary'])}\n\n" if "summary" in about else ""
    return f"# {_text(name)}\n\n{summary}{facts}"


def _use(name: str, separator: Separator) -> str:
    shapes = "(batch, channels, samples) -> (batch, sources, channels, samples)"
    required = "".join(f", {extra}={extra}" for extra in separator.requires)
    return (
        f"## Use\n\n```python\nimport torchsep\nseparator = torchsep.load({json.dumps(name)})"
        f"  # the path of this folder, or hub:USER/NAME\n"
        f"estimates = separator(mixture{required})  # {shapes}, at {separator.sample_rate} Hz\n```\n\n"
        f"```sh\ntorchsep separate mixture.wav -s {name}\n```"
    )


def _training(about: Mapping[str, Any]) -> Iterator[str]:
    if about.get("training"):
        yield "## Training\n\n" + _bullets(about["training"])


def _metrics(about: Mapping[str, Any]) -> Iterator[str]:
    if about.get("metrics"):
        rows = ["| metric | value | data | definition |", "|---|---|---|---|"]
        for metric in about["metrics"]:
            value = f"{metric['value']:.4g} {metric.get('unit', '')}".strip()
            cells = (metric["name"], value, metric.get("data", ""), metric["definition"])
            rows.append(f"| {' | '.join(_text(cell) for cell in cells)} |")
        yield "## Metrics\n\n" + "\n".join(rows)


def _lists(about: Mapping[str, Any]) -> Iterator[str]:
    if about.get("licences"):
        yield "## Licences\n\n" + _bullets(about["licences"])
    if about.get("references"):
        yield "## References\n\n" + "\n".join(f"- {_text(reference)}" for reference in about["references"])


def _file(header: Mapping[str, Any], path: Path) -> str:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return (
        f"## File\n\n`{path.name}`, SHA-256 `{digest}`. Loading executes no code from it. Its header (format "
        f"version {header['format_version']}) is in `config.json`."
    )


def _bullets(entries: Mapping[str, Any]) -> str:
    return "\n".join(f"- {_text(key).replace('_', ' ')}: {_value(key, value)}" for key, value in entries.items())


def _value(key: str, value: Any) -> str:
    if key == "seconds" and isinstance(value, int | float):
        minutes = round(value / 60)
        return f"{value:.0f} ({minutes // 60} h {minutes % 60} min)"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | dict):
        return f"`{_text(json.dumps(value))}`"
    return _text(value)


def _text(value: object) -> str:
    """A text that is safe in one line or table cell, without HTML."""
    return re.sub(r"\s+", " ", str(value)).replace("|", "\\|").replace("<", "&lt;").strip()
