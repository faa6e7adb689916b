"""``torchsep train``: from a configuration to a checkpoint."""

import sys
from typing import Annotated

import typer

from torchsep.cli.messages import INTERRUPTED, fail

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
    """Train a separator; Hydra overrides say which, on what and how.

    OUTPUT holds the configuration, the curves, the checkpoints to go on from, and in the end model.safetensors, which
    `torchsep separate -s` and `torchsep evaluate separator=` take. A run that was interrupted or killed goes on when it
    is started again, and ends with the weights that it would have had.

    Exit code: 0 if done, 1 if the loss became NaN or infinite, 2 if the command is wrong.
    """
    from torchsep.engine import NonFiniteLossError, training
    from torchsep.engine import train as run

    try:
        job = training(overrides)
        trained = run(job, typer.echo, progress=sys.stderr.isatty())
    except (ValueError, OSError, ImportError) as error:
        fail(error)
    except NonFiniteLossError as error:
        fail(error, code=1)
    except KeyboardInterrupt:
        fail("interrupted; start it again to go on from the last checkpoint", INTERRUPTED)
    gain = "" if trained.improvement is None else f", {trained.improvement:.2f} dB SI-SDR improvement in validation"
    typer.echo(f"Written: {trained.path} after {trained.steps} steps{gain}")
