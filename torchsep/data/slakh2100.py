"""Slakh2100: songs rendered from MIDI with one stem per instrument."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from torchsep.data.folders import subfolders
from torchsep.data.grouping import REST
from torchsep.data.recordings import Entry, Recordings

__all__ = ["Slakh2100"]

_COMMON = ("bass", "drums", "guitar", "piano")


def _groups() -> Mapping[str, Sequence[str]]:
    return {**{name: (name,) for name in _COMMON}, "other": (REST,)}


@dataclass(eq=False)
class Slakh2100(Recordings):
    """Slakh2100: 2100 single-channel songs at 44.1 kHz rendered from MIDI, with stems summed by instrument class.

    Expects ``<root>/{train,validation,test[,omitted]}/<track>/`` with ``mix.flac``, ``stems/<stem>.flac`` (or both
    ``.wav``) and ``metadata.yaml``, which lists the class of each stem (``inst_class``) and whether it was rendered.

    Args:
        root: folder that contains ``train``, ``validation`` and ``test``.
        split: ``train``, ``valid`` (validation), ``test`` or ``omitted``.
        sources: groups of lower-case classes, such as ``{"strings": ["strings", "strings (continued)"]}``. By default
            bass, drums, guitar, piano and ``other``, the sum of all other classes. If None, each class is a source.

    Further arguments as in :class:`Recordings`.

    References:
        E. Manilow, G. Wichern, P. Seetharaman, J. Le Roux, "Cutting music source separation some Slakh: a dataset to
        study the impact of training data quality and quantity", WASPAA 2019.
    """

    sources: Mapping[str, Sequence[str]] | Sequence[str] | None = field(default_factory=_groups, kw_only=True)

    splits: ClassVar[Mapping[str, str]] = {
        "train": "train",
        "valid": "validation",
        "test": "test",
        "omitted": "omitted",
    }

    def entries(self) -> Iterator[Entry]:
        """An entry for each track folder."""
        for track in subfolders(self.folder(self.own_split)):
            try:
                stems = _stems(track / "metadata.yaml")
            except (OSError, ValueError) as error:
                self.leave_out(error)
                continue
            suffix = ".flac" if (track / "mix.flac").is_file() else ".wav"
            sources = {
                name: tuple(track / "stems" / f"{stem}{suffix}" for stem in sorted(stems) if stems[stem] == name)
                for name in sorted({*stems.values(), *(_COMMON if self.sources is not None else ())})
            }
            yield Entry(f"{self.own_split}/{track.name}", track / f"mix{suffix}", sources)


def _stems(metadata: Path) -> dict[str, str]:
    """Instrument class of each rendered stem."""
    import yaml

    if not metadata.is_file():
        raise FileNotFoundError(f"{metadata}: does not exist; complete the data set, or skip it with on_error='skip'")
    try:
        # The C loader, if available, is about ten times faster.
        found = yaml.load(metadata.read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        stems = found["stems"].items()
        return {str(stem): str(about["inst_class"]).lower() for stem, about in stems if about["audio_rendered"]}
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{metadata}: must contain inst_class and audio_rendered of each stem, {error!r}") from None
