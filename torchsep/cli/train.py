"""``torchsep train``: train a separator."""

from typing import Annotated

import typer

from torchsep.cli.messages import INTERRUPTED, fail
from torchsep.cli.progress import Bar

__all__ = ["train"]


def train(
    overrides: Annotated[
        list[str],
        typer.Argument(
            metavar="OVERRIDE",
            help="experiment=speech8k_dpcl trainer.max_steps=200 trainer.accelerator=gpu optimizer.lr=3e-4 "
            "output=FOLDER ...",
            show_default=False,
        ),
    ],
) -> None:
    """Train a separator, as configured by Hydra overrides.

    OUTPUT holds the configuration, the learning curves, the checkpoints to resume from, and at the end
    model.safetensors, for `torchsep separate -s` and `torchsep evaluate separator=`. An interrupted run resumes when
    started again, and ends with the same weights as an uninterrupted one.

    Exit code: 0 if done, 1 if the loss became NaN or infinite, 2 if the command is wrong.
    """
    from torchsep.engine import NonFiniteLossError, run_training, training

    try:
        job = training(overrides)
        with Bar("training") as bar:
            trained = run_training(
                job, bar.say, lambda done, total, epoch: bar.update(done, total, f"training, epoch {epoch}")
            )
    except (ValueError, OSError, ImportError) as error:
        fail(error)
    except NonFiniteLossError as error:
        fail(error, code=1)
    except KeyboardInterrupt:
        fail("interrupted; start again to resume from the last checkpoint", INTERRUPTED)
    gain = "" if trained.improvement is None else f", {trained.improvement:.2f} dB SI-SDR improvement in validation"
    after = f" after {trained.steps} steps" if trained.steps else ""
    typer.echo(f"Written: {trained.path}{after}{gain}")
