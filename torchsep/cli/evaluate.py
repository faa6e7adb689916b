"""``torchsep evaluate``: score separators on a data set, in one table."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchsep.cli.messages import INTERRUPTED, fail
from torchsep.cli.progress import Bar

if TYPE_CHECKING:
    from torchsep.engine import Evaluation

__all__ = ["evaluate"]


def evaluate(
    overrides: Annotated[
        list[str],
        typer.Argument(
            metavar="OVERRIDE",
            help="separator=repet data=musdb18hq data.root=/data/musdb18hq output=FOLDER separator.min_period=1 "
            "evaluation.save_audio=5 trainer.accelerator=gpu ...",
            show_default=False,
        ),
    ],
    several: Annotated[
        bool, typer.Option("--multirun", "-m", help="All combinations of values listed with commas, in one table.")
    ] = False,
    wide: Annotated[
        bool, typer.Option("--wide", help="Print one table of all metrics, which may exceed 100 columns.")
    ] = False,
) -> None:
    """Score separators on a data set with known sources, as configured by Hydra overrides.

    Each result is written at once, and an interrupted run resumes when started again. OUTPUT holds a folder for each
    separator with one line of JSON for each item, and the table as summary.md and summary.json.

    Exit code: 0 if all is done, 1 if some items failed (the others are done), 2 if the command is wrong.
    """
    from torchsep.engine import run_evaluation, summarise

    jobs = _checked(overrides, several)
    runs = []
    for job in jobs:
        reporter = _Reporter(job.label)
        try:
            with reporter:
                runs.append(run_evaluation(job, reporter))
        except (ValueError, OSError) as error:
            fail(error)
        except KeyboardInterrupt:
            fail(f"interrupted after {reporter.done} items of {job.label}; start again to resume", INTERRUPTED)
    for output in dict.fromkeys(job.output for job in jobs):
        typer.echo(f"\n{summarise(output, runs).as_text(wide=wide)}\nWritten: {output / 'summary.md'}")
    failed = sum(bool(outcome.error) for run in runs for outcome in run.outcomes.values())
    if failed:
        fail(f"{failed} items failed; the reasons are in the results", code=1)


def _checked(overrides: list[str], several: bool) -> "list[Evaluation]":  # noqa: FBT001 - private
    """The evaluations, all of which can be run."""
    from torchsep.engine import evaluations

    try:
        jobs = evaluations(overrides, several=several)
        for job in jobs:
            job.check()
    except (ValueError, OSError, ImportError) as error:
        fail(error)
    except KeyboardInterrupt:
        fail("interrupted; nothing was scored", INTERRUPTED)
    return jobs


class _Reporter(Bar):
    """Progress, and a line for each item that failed."""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.done = 0
        self._label = label

    def __call__(self, news: int | str | Mapping[str, Any]) -> None:
        """Receive the number of items to score, the result of one, or a message."""
        if isinstance(news, str):
            self.say(news, is_error=True)
            return
        if isinstance(news, int):
            self.say(f"{self._label}: {news} items to score", is_error=True)
            self.update(0, news)
            return
        self.done += 1
        if "error" in news:
            self.say(f"failed: {news['id']}: {news['error']}", is_error=True)
        self.advance()
