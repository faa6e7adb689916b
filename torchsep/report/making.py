"""Creation of a report from evaluation results or audio files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torchsep.checks import check_choice, check_integer, check_number
from torchsep.engine.evaluate.result_reader import is_evaluation, read_runs
from torchsep.report.heading import heading_of_files, heading_of_runs
from torchsep.report.items import items_of_files, items_of_runs
from torchsep.report.measures import measures_of
from torchsep.report.page import write_page
from torchsep.report.sounds import AudioFormat, lossless_if_small
from torchsep.report.tables import panels
from torchsep.report.views import Page

__all__ = ["Report", "ReportOptions", "make_report"]


@dataclass(frozen=True)
class ReportOptions:
    """Options of a report.

    Args:
        audio: format of embedded audio, ``flac`` (16 bits) or ``mp3`` (several times smaller); ``auto`` is flac if the
            page is estimated to stay below 25 MB, else mp3.
        seconds: duration of each track from its start, in seconds; 0 for whole tracks.
        items: maximum number of items with audio and spectrograms; 0 for scores only.
        masks: whether to show the ratio masks of the estimates.
    """

    audio: Literal["auto"] | AudioFormat = "auto"
    seconds: float = 10.0
    items: int = 20
    masks: bool = False

    def __post_init__(self) -> None:
        check_choice(self.audio, ("auto", "flac", "mp3"), "audio")
        check_number(self.seconds, "seconds", at_least=0.0)
        check_integer(self.items, "items", at_least=0)


@dataclass(frozen=True)
class Report:
    """A written report: path, numbers of items, of those with audio and of separators, audio format, bytes, errors."""

    path: Path
    items: int
    num_audible: int
    separators: int
    audio: AudioFormat
    size: int
    errors: tuple[str, ...]


def make_report(
    paths: Sequence[Path],
    output: Path,
    options: ReportOptions | None = None,
    *,
    mixtures: Sequence[Path] = (),
    receive: Callable[[int, int], None] = lambda _done, _total: None,
) -> Report:
    """Write a page of evaluation results with audio players, or of audio files.

    Tracks that cannot be read are skipped and listed on the page and in the result.

    Args:
        paths: evaluation folders or single runs; or audio files and folders, such as outputs of ``torchsep separate``.
        output: path of the page, ``.html``.
        options: options of the report.
        mixtures: mixtures of audio files: files named as the folders of their sources, or folders of such files.
        receive: progress callback, called after each item with the numbers of finished and of all items.

    Raises:
        ImportError: if jinja2 or matplotlib is not installed.
        OSError: if a file is missing, or the page cannot be written.
        ValueError: if the results are damaged, there is nothing to report, or results and audio are mixed.
    """
    options = options or ReportOptions()
    if output.suffix.lower() not in {".html", ".htm"} or output.is_dir():
        raise ValueError(f"output must be a file that ends in .html, got {output}")
    page = _of_runs(paths, mixtures) if any(map(is_evaluation, paths)) else _of_files(paths, mixtures, options)
    page.seconds, page.max_items, page.masks = options.seconds, options.items, options.masks
    page.audio_format = (
        lossless_if_small(page.audible_tracks, page.seconds, masks=page.masks)
        if options.audio == "auto"
        else options.audio
    )
    page.receive = receive
    size = write_page(page, output)
    rows = len(page.panels[0].rows) if page.panels else 0
    return Report(output, len(page.items), page.num_audible, rows, page.audio_format, size, tuple(page.errors))


def _of_runs(paths: Sequence[Path], mixtures: Sequence[Path]) -> Page:
    others = [str(path) for path in paths if not is_evaluation(path)]
    if others:
        raise ValueError(f"results and audio cannot be on one page, got {', '.join(others)} without results.jsonl")
    if mixtures:
        raise ValueError("--mixture goes with audio files; results name their own mixtures")
    runs = read_runs(paths)
    items = items_of_runs(runs)
    measures = measures_of(runs)
    return Page(heading_of_runs(runs, items), items, measures, panels(runs, items, measures))


def _of_files(paths: Sequence[Path], mixtures: Sequence[Path], options: ReportOptions) -> Page:
    if not options.items:
        raise ValueError("items must be at least 1 where there are no results, got 0")
    items = items_of_files(paths, mixtures)
    if options.masks and not any(track.kind == "mixture" for item in items for track in item.tracks):
        raise ValueError("masks need a mixture to compare with; name it by --mixture")
    return Page(heading_of_files(items), items)
