"""Initial weights of training from a checkpoint."""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from torchsep import checkpoint
from torchsep.separators import Separator

__all__ = ["load_initial_weights"]


def load_initial_weights(separator: Separator, source: str | Path, say: Callable[[str], None] = lambda _: None) -> int:
    """Copy all tensors of a checkpoint that match a separator in name and shape; returns their number.

    To fine-tune a network, or to train one with another head from a trained body. The network may be in a wrapper, such
    as ``refine``, on either side or both: of the separators inside, those two are matched that have most tensors in
    common.

    Args:
        separator: whose weights are replaced.
        source: what :func:`torchsep.load` takes.
        say: receives a message.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if it is damaged, or no tensor fits.
    """
    loaded = checkpoint.load(source)
    known, own = loaded.state_dict(), separator.state_dict()
    pairs = [(own_prefix, prefix) for own_prefix in _prefixes(separator) for prefix in _prefixes(loaded)]
    fitting = max((_fitting(own, known, *pair) for pair in pairs), key=len)  # the first of equally many
    if not fitting:
        raise ValueError(f"training.start must hold weights for the separator, but none of {source} fits")
    separator.load_state_dict(fitting, strict=False)
    say(f"initial weights: {len(fitting)} of {len(own)} tensors from {source}")
    return len(fitting)


def _prefixes(separator: Separator) -> list[str]:
    """What the names of the tensors of a separator, and of each separator inside it, begin with."""
    return [f"{name}." if name else "" for name, part in separator.named_modules() if isinstance(part, Separator)]


def _fitting(own: dict[str, Tensor], known: dict[str, Tensor], own_prefix: str, prefix: str) -> dict[str, Tensor]:
    """The known tensors below a prefix that match tensors below another in name and shape, by their new names."""
    renamed = {
        own_prefix + name.removeprefix(prefix): tensor for name, tensor in known.items() if name.startswith(prefix)
    }
    return {name: tensor for name, tensor in renamed.items() if name in own and own[name].shape == tensor.shape}
