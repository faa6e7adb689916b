"""Weights that training begins with."""

from collections.abc import Callable
from pathlib import Path

from torchsep import checkpoint
from torchsep.separators import Separator

__all__ = ["start_from"]


def start_from(separator: Separator, source: str | Path, say: Callable[[str], None] = lambda _: None) -> int:
    """The number of tensors that a separator takes over from a checkpoint: all that agree in name and shape.

    So a network is fine-tuned, or one with another head begins with the body of one that has been trained.

    Args:
        separator: whose weights are replaced.
        source: what :func:`torchsep.load` takes.
        say: takes a line on what was taken over.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if it is damaged, or nothing of it fits.
    """
    known = checkpoint.load(source).state_dict()
    own = separator.state_dict()
    fitting = {name: known[name] for name in own if name in known and known[name].shape == own[name].shape}
    if not fitting:
        raise ValueError(f"training.start must hold weights for the separator, got {source}, of which none fit")
    separator.load_state_dict(fitting, strict=False)
    say(f"beginning with {len(fitting)} of {len(own)} tensors from {source}")
    return len(fitting)
