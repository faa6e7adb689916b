"""What a separator or model is, for those who choose one."""

from torchsep import registry
from torchsep.checkpoint import load, read_header
from torchsep.checkpoint.locations import FILE_NAME, find
from torchsep.engine.export.model_card import model_card
from torchsep.engine.run import imported_class
from torchsep.engine.separator_choice import unknown_separator
from torchsep.separators import Separator

__all__ = ["describe"]


def describe(choice: str) -> type[Separator] | str:
    """The class of a separator, or the card of a model in Markdown.

    Args:
        choice: a registered name, a checkpoint (a file, a folder, a name or ``hub:user/name``), or ``module:Class`` or
            ``file.py:Class`` for a class of your own.

    Raises:
        FileNotFoundError: if a Python or checkpoint file is missing.
        ValueError: if there is no such separator, or the checkpoint cannot be loaded.

    Example:
        >>> describe("hpss").__name__, describe("speech8k_dpcl").splitlines()[0]
        ('HPSS', '---')
    """
    if choice in registry.list_separators():
        return registry.separator_class(choice)
    is_file = choice.startswith("hub:") or choice.endswith(".safetensors")
    if ":" in choice and not is_file:
        return imported_class(choice)
    try:
        path = find(choice)
    except FileNotFoundError:
        if is_file:
            raise
        raise unknown_separator(choice) from None
    card = path.with_name("README.md")
    if path.name == FILE_NAME and card.is_file():
        return card.read_text(encoding="utf-8")
    name = path.parent.absolute().name if path.name == FILE_NAME else path.stem
    return model_card(name, read_header(path), load(path), path)
