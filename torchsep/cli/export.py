"""``torchsep export``: a model to release, in a folder."""

from pathlib import Path
from typing import Annotated, Any

import typer

from torchsep.cli.messages import INTERRUPTED, fail

__all__ = ["export"]


def export(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A .ckpt of a training run, a .safetensors file or its folder, the name of a model that comes with "
            "torchsep, or hub:user/name.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder, named like the model.", show_default=False)],
    half: Annotated[bool, typer.Option("--half", help="Half the size: weights in half precision.")] = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write the network as ONNX too.")] = False,
    program: Annotated[bool, typer.Option("--program", help="Write it as a torch.export program too.")] = False,
    about: Annotated[
        Path | None,
        typer.Option(
            help="YAML with what the card tells: summary, training, metrics, licences, references.", show_default=False
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
) -> None:
    """Write a model to release: weights, configuration and a card, in a folder that `torchsep separate -s` takes.

    Exit code: 0 if done, 2 if the command is wrong or the folder cannot be written.
    """
    from torchsep.engine.export.exporting import ExportOptions
    from torchsep.engine.export.exporting import export as run

    try:
        told = {} if about is None else _read(about)
        paths = run(checkpoint, output, ExportOptions(half, onnx, program, overwrite), told)
    except (ValueError, OSError, ImportError) as error:
        fail(error)
    except KeyboardInterrupt:
        fail("interrupted; nothing is written", INTERRUPTED)
    for path in paths:
        typer.echo(f"{output / path.name}: {path.stat().st_size / 1e6:.2f} MB")


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"--about must be a YAML file, {path} is not: {error}") from None
    if not isinstance(told, dict):
        raise ValueError(f"--about must hold a mapping, {path} does not")
    return told
