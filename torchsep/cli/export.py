"""``torchsep export``: write a model for release."""

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
            help="A .ckpt of a training run, a .safetensors file or its folder, the name of a model shipped with "
            "torchsep, or hub:user/name.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder, named like the model.", show_default=False)],
    half: Annotated[bool, typer.Option("--half", help="Write the weights in half precision.")] = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="Also write the network as ONNX.")] = False,
    program: Annotated[bool, typer.Option("--program", help="Also write it as a torch.export program.")] = False,
    about: Annotated[
        Path | None,
        typer.Option(
            help="YAML file for the model card: summary, training, metrics, licences, references.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing export.")] = False,
) -> None:
    """Write a model for release, weights, configuration and card, to a folder that `torchsep separate -s` takes.

    Exit code: 0 if done, 2 if the command is wrong or the folder cannot be written.
    """
    from torchsep.engine import ExportOptions, export_model

    try:
        description = {} if about is None else _read(about)
        paths = export_model(checkpoint, output, ExportOptions(half, onnx, program, overwrite), description)
    except (ValueError, OSError, ImportError) as error:
        fail(error)
    except KeyboardInterrupt:
        fail("interrupted; nothing was written", INTERRUPTED)
    for path in paths:
        typer.echo(f"{output / path.name}: {path.stat().st_size / 1e6:.2f} MB")


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        description = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"--about must be a YAML file, {path} is not: {error}") from None
    if not isinstance(description, dict):
        raise ValueError(f"--about must hold a mapping, {path} does not")
    return description
