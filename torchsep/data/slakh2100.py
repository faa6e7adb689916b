"""Slakh2100: songs rendered from MIDI, one stem for each instrument."""

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
    """Slakh2100: 2100 songs rendered from MIDI, in one channel at 44.1 kHz, stems summed by class of instrument.

    Expects ``<root>/{train,validation,test[,omitted]}/<track>/`` with ``mix.flac``, ``stems/<stem>.flac`` (or ``.wav``
    both) and ``metadata.yaml``, which gives the class of each stem (``inst_class``) and says which were rendered.

    Args:
        root: folder that holds ``train``, ``validation`` and ``test``.
        split: ``train``, ``valid`` (validation), ``test`` or ``omitted``.
        sources: groups of classes in small letters, such as ``{"strings": ["strings", "strings (continued)"]}``; bass,
            drums, guitar, piano and ``other``, which is all the rest, unless given. With None each class is a source.

    Further arguments are those of :class:`Recordings`.

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
        """One for each folder of a track."""
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
    """The class of each stem that was rendered."""
    import yaml

    if not metadata.is_file():
        raise FileNotFoundError(f"{metadata}: does not exist; complete the data set, or leave it out")
    try:
        # The loader in C reads the 2100 files about ten times as fast, where it is there.
        found = yaml.load(metadata.read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        stems = found["stems"].items()
        return {str(stem): str(about["inst_class"]).lower() for stem, about in stems if about["audio_rendered"]}
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{metadata}: must give inst_class and audio_rendered of each stem, {error!r}") from None
