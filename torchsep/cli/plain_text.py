"""Docstrings and model cards as plain text."""

import html
import inspect
import re

__all__ = ["sections_of", "without_markdown", "without_roles"]

_HEADINGS = r"(?m)^(Args|Shape|Raises|Gradient|Example|References):\n"


def sections_of(text: str, heading: str = _HEADINGS) -> dict[str, str]:
    """A docstring by section; the text before the first section has an empty name.

    Args:
        text: Google-style docstring, without indentation.
        heading: expression that finds the heading of a section, with its name as a group.

    Example:
        >>> sections_of('''One.
        ...
        ... Args:
        ...     power: of two.''')
        {'': 'One.', 'Args': 'power: of two.'}
    """
    parts = re.split(heading, text)
    named = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {"": parts[0].strip(), **{name: inspect.cleandoc(body) for name, body in named.items()}}


def without_roles(text: str) -> str:
    r"""A docstring without the markup of Sphinx; formulas stay as LaTeX.

    Example:
        >>> without_roles("See :func:`~torchsep.functional.soft_mask` and ``power``, for :math:`x^2`.")
        'See soft_mask and power, for x^2.'
    """
    text = re.sub(r"(?m)^( *)\.\. (?:math|code-block)::.*\n(?: *\n)*", "", text)
    text = re.sub(r"(?m)^( *)\.\. (\w+)::", r"\1\2:", text)
    text = re.sub(r":[a-z:]+:`~?([^`<]*?)(?: <[^`>]*>)?`", lambda found: _last(found[0], found[1]), text)
    text = re.sub(r"``(.+?)``", r"\1", text, flags=re.DOTALL)
    return re.sub(r"`([^`]+?)(?: <[^`>]*>)?`_{0,2}", r"\1", text)


def _last(role: str, target: str) -> str:
    """The target of a role, without its modules where a tilde says so."""
    return target.rpartition(".")[2] if "`~" in role else target


def without_markdown(text: str) -> str:
    """A model card without front matter, fences, quotes of code and escapes; headings and tables stay.

    Example:
        >>> print(without_markdown('''---
        ... license: mit
        ... ---
        ...
        ... # name
        ...
        ... `nmf`: 2 sources'''))
        # name
        <BLANKLINE>
        nmf: 2 sources
    """
    text = re.sub(r"\A---\n.*?\n---\n+", "", text, flags=re.DOTALL)
    text = re.sub(r"(?m)^```.*\n?", "", text)
    return html.unescape(text.replace("`", "").replace("\\|", "|")).rstrip()
