"""``torchsep shard``: write a data set as a few large files."""

from pathlib import Path
from typing import Annotated, Any

import typer

from torchsep.cli.messages import INTERRUPTED, fail

__all__ = ["shard"]


def shard(
    overrides: Annotated[
        list[str],
        typer.Argument(
            metavar="OVERRIDE", help="data=musdb18hq data.root=/data/musdb18hq data.split=train ...", show_default=False
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the shards.", show_default=False)],
    items_per_shard: Annotated[int, typer.Option(help="Shards of 100 MB to 1 GB are read fastest.")] = 100,
    format_: Annotated[str, typer.Option("--format", help="flac (24 bits) or wav (32 bits).")] = "flac",
    workers: Annotated[int, typer.Option(help="Worker processes; 0 for this one alone.")] = 0,
) -> None:
    """Write a data set, chosen by Hydra overrides, as shards that WebDataset reads.

    A shard appears when it is complete; after an error or an interrupt the same command writes the remaining ones.
    For training, data=shards reads them.

    Exit code: 0 if all is done, 1 if writing failed, 2 if the command is wrong.
    """
    from torchsep.data.shards import write_shards

    counts = [0, 0]

    def receive(done: int, total: int) -> None:
        counts[:] = done, total
        typer.echo(f"{done} of {total} shards are written", err=True)

    def written() -> str:
        return f"{counts[0]} of {counts[1]} shards are written; the same command writes the others"

    try:
        paths = write_shards(_data_set(overrides), output, items_per_shard, format_, workers, receive)  # type: ignore[arg-type]
    except (ValueError, OSError, ImportError) as error:
        if counts[1]:
            fail(f"{error}; {written()}", code=1)
        fail(error)
    except KeyboardInterrupt:
        fail(f"interrupted; {written()}", INTERRUPTED)
    size = sum(path.stat().st_size for path in paths)
    typer.echo(f"{output}: {len(paths)} shards, {size / 1e6:.1f} MB")


def _data_set(overrides: list[str]) -> Any:
    """The data set that the overrides describe."""
    from torchsep.engine.config import compose, instance

    config = compose(overrides).get("data")
    if config is None:
        raise ValueError("data must be chosen, as in data=scenes")
    return instance(config, "data")
