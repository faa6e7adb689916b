"""Contents of a page, generated item by item, so that the audio of only one item is in memory."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

from torchsep.report.heading import Heading
from torchsep.report.items import Item, Track
from torchsep.report.measures import Measure, format_figure
from torchsep.report.pictures import frequency_marks, mask_uri, mel_powers, spectrogram_uris, time_marks
from torchsep.report.sounds import AudioFormat, Excerpt, audio_uri, read_excerpts
from torchsep.report.tables import ItemRow, Panel, item_rows, mean_rows

__all__ = ["ItemView", "Page", "TrackView"]

_MAX_LISTED = 500  # items without a player; thousands of tables make a page slow


@dataclass(frozen=True)
class TrackView:
    """Contents of a track on a page."""

    track: Track
    audio: str
    picture: str
    mask: str
    figure: str


@dataclass(frozen=True)
class ItemView:
    """Contents of an item on a page."""

    number: int
    id: str
    rows: tuple[ItemRow, ...]
    groups: tuple[tuple[str, tuple[TrackView, ...]], ...] = ()  # by source
    facts: tuple[str, ...] = ()
    duration: float = 0.0
    frequencies: tuple[tuple[str, float], ...] = ()  # labels of the axes and their positions
    times: tuple[tuple[str, float], ...] = ()
    top: str = ""  # highest frequency of the images
    errors: tuple[str, ...] = ()


@dataclass
class Page:
    """Contents of a page; ``errors`` is filled while it is written."""

    heading: Heading
    items: Sequence[Item]
    measures: Sequence[Measure] = ()
    panels: Sequence[Panel] = ()
    audio_format: AudioFormat = "flac"
    seconds: float = 10.0
    max_items: int = 20
    masks: bool = False
    errors: list[str] = field(default_factory=list)
    receive: Callable[[int, int], None] = lambda _done, _total: None

    @property
    def num_audible(self) -> int:
        """Number of items with players."""
        return len(self.audible)

    @property
    def audible_tracks(self) -> list[Track]:
        """Tracks of the items with players."""
        return [track for number in sorted(self.audible) for track in self.items[number].tracks]

    @property
    def num_with_audio(self) -> int:
        """Number of items with audio files."""
        return sum(bool(item.tracks) for item in self.items)

    @cached_property
    def shown(self) -> frozenset[int]:
        """Indices of the listed items: those with players, and up to 500 with scores."""
        return self.audible | {number for number, item in enumerate(self.items[:_MAX_LISTED]) if item.outcomes}

    @cached_property
    def audible(self) -> frozenset[int]:
        """Indices of the items with players."""
        return frozenset([number for number, item in enumerate(self.items) if item.tracks][: self.max_items])

    @property
    def scores(self) -> Iterator[tuple[int, Item, list[ItemRow]]]:
        """Number, item and mean scores of each listed item."""
        for number in sorted(self.shown):
            yield number, self.items[number], mean_rows(self.items[number], self.measures)

    def views(self) -> Iterator[ItemView]:
        """Iterate over the listed items and report progress to ``receive``."""
        for done, number in enumerate(sorted(self.shown), start=1):
            item = self.items[number]
            yield self._view(number, item, item.tracks if number in self.audible else ())
            self.receive(done, len(self.shown))

    def _view(self, number: int, item: Item, tracks: Sequence[Track]) -> ItemView:
        rows = tuple(item_rows(item, self.measures))
        if not tracks:
            return ItemView(number, item.id, rows, facts=_facts(item))
        read = read_excerpts(tracks, self.seconds)
        self.errors.extend(read.errors)
        if not read.excerpts:
            return ItemView(number, item.id, rows, errors=read.errors)
        first = read.excerpts[0]
        facts = [
            f"{'' if read.is_whole else 'first '}{read.duration:.1f} s",
            f"{first.sample_rate / 1000:g} kHz",
            {1: "mono", 2: "stereo"}.get(
                len(first.waveform), f"{len(first.waveform)} channels, the first two are played"
            ),
        ]
        if read.gain < 1:
            facts.append(f"all tracks scaled by {read.gain:.2f} to avoid clipping")
        top = max(excerpt.sample_rate for excerpt in read.excerpts)
        views = self._tracks(item, read.excerpts)
        groups = tuple((key[1], tuple(group)) for key, group in groupby(views, key=_group))
        return ItemView(
            number, item.id, rows, groups, tuple(facts), read.duration, tuple(frequency_marks(top)),
            tuple(time_marks(read.duration)), f"{top / 2000:g} kHz", read.errors,
        )  # fmt: skip

    def _tracks(self, item: Item, excerpts: Sequence[Excerpt]) -> list[TrackView]:
        powers = mel_powers(excerpts)
        mixture = next((p for p, e in zip(powers, excerpts, strict=True) if e.track.kind == "mixture"), None)
        views = []
        for excerpt, power, picture in zip(excerpts, powers, spectrogram_uris(powers), strict=True):
            masked = self.masks and mixture is not None and excerpt.track.kind != "mixture"
            mask = mask_uri(power, mixture) if masked and mixture is not None else ""
            sound = audio_uri(excerpt, self.audio_format)
            views.append(TrackView(excerpt.track, sound, picture, mask, self._figure(item, excerpt.track)))
        return views

    def _figure(self, item: Item, track: Track) -> str:
        """First metric of an estimate."""
        outcome = item.outcomes.get(track.separator)
        if track.kind != "estimate" or outcome is None or not self.measures:
            return ""
        measure = self.measures[0]
        value = outcome.scores.get(track.source, {}).get(measure.key)
        return "" if value is None else f"{measure.name} {format_figure(value)} {measure.unit}".strip()


def _facts(item: Item) -> tuple[str, ...]:
    """Duration and sample rate of an item from its results."""
    done = next((outcome for outcome in item.outcomes.values() if outcome.error is None), None)
    if done is None:
        return ("failed",)
    duration = () if math.isnan(done.duration) else (f"{done.duration:.1f} s",)
    return (*duration, f"{done.sample_rate / 1000:g} kHz") if done.sample_rate else duration


def _group(view: TrackView) -> tuple[bool, str]:
    """Group key: the mixture, each source, or files without a known source."""
    track = view.track
    return track.kind == "mixture", track.source if track.kind in {"reference", "estimate"} else ""
