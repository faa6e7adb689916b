"""Initial weights of training from a checkpoint."""

from collections.abc import Callable
from pathlib import Path

from torchsep import checkpoint
from torchsep.separators import Separator

__all__ = ["load_initial_weights"]


def load_initial_weights(separator: Separator, source: str | Path, say: Callable[[str], None] = lambda _: None) -> int:
    """Copy all tensors of a checkpoint that match a separator in name and shape; returns their number.

    To fine-tune a network, or to train one with another head from a trained body.

    Args:
        separator: whose weights are replaced.
        source: what :func:`torchsep.load` takes.
        say: receives a message.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if it is damaged, or no tensor fits.
    """
    known = checkpoint.load(source).state_dict()
    own = separator.state_dict()
    fitting = {name: known[name] for name in own if name in known and known[name].shape == own[name].shape}
    if not fitting:
        raise ValueError(f"training.start must hold weights for the separator, but none of {source} fits")
    separator.load_state_dict(fitting, strict=False)
    say(f"initial weights: {len(fitting)} of {len(own)} tensors from {source}")
    return len(fitting)
