"""Modules that are fully described by their constructor arguments."""

import inspect
import re
from collections.abc import Callable
from functools import wraps
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Configurable", "parameter_shapes", "registry_name"]

_BUILT = "_is_built"
_INTERNAL = frozenset(vars(nn.Module()))  # parameters, buffers, modules, hooks, mode


def registry_name(kind: type) -> str:
    """The registry name of a class: its name in snake case.

    Example:
        >>> registry_name(type("HighLowPassFilter", (), {})), registry_name(type("FT2D", (), {}))
        ('high_low_pass_filter', 'ft2d')
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind.__name__)
    return words.lower()


def _plain_numbers(value: Any) -> Any:
    """An argument with numbers of other libraries, such as NumPy's, as those of Python."""
    if isinstance(value, (bool, int, float, str, Tensor, nn.Module)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if type(value) in {list, tuple}:
        return type(value)(_plain_numbers(item) for item in value)
    if type(value) is dict:
        return {key: _plain_numbers(item) for key, item in value.items()}
    return value


def _constructor(function: Callable[..., None]) -> Callable[..., None]:
    """A constructor whose arguments are passed through :func:`_plain_numbers`, and that marks the module as built."""

    @wraps(function)
    def construct(module: Any, *arguments: Any, **options: Any) -> None:
        is_outermost = _BUILT not in vars(module)
        vars(module).setdefault(_BUILT, False)
        plain = {name: _plain_numbers(value) for name, value in options.items()}
        function(module, *map(_plain_numbers, arguments), **plain)
        if is_outermost:
            vars(module)[_BUILT] = True

    return construct


def _plain(value: Any) -> Any:
    """An argument as a JSON value."""
    value = _plain_numbers(value)
    if isinstance(value, Configurable):
        return value.config
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, (list, tuple, nn.ModuleList)):
        return [_plain(item) for item in value]
    return value


def parameter_shapes(module: nn.Module) -> dict[str, torch.Size]:
    """The shapes of the parameters and buffers of a module, by name."""
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


class Configurable(nn.Module):
    """A module whose constructor stores every argument under the argument's own name.

    Its ``repr`` and its ``config``, from which the registry builds an equal module, are derived from these attributes.
    Numbers of other libraries, such as NumPy's, are stored as those of Python.
    """

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "__init__" in vars(cls):
            cls.__init__ = _constructor(cls.__init__)  # type: ignore[method-assign]

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; an argument of the constructor is checked as there, with all that follows from it.

        Raises:
            ValueError: if the value is not allowed, or needs other parameters than the module has.
        """
        is_property = isinstance(getattr(type(self), name, None), property)  # a learnable argument, checked by itself
        if is_property or not vars(self).get(_BUILT) or name not in self.arguments() or isinstance(value, nn.Module):
            super().__setattr__(name, value)
            return
        given = {other: kept if isinstance(kept, nn.Module) else _plain(kept) for other, kept in self._stored().items()}
        given = {other: list(kept) if isinstance(kept, nn.ModuleList) else kept for other, kept in given.items()}
        twin = type(self)(**{**given, name: value})
        if parameter_shapes(twin) != parameter_shapes(self):
            raise ValueError(f"{name} must not change the parameters of {registry_name(type(self))}; build another one")
        vars(self).update({name: changed for name, changed in vars(twin).items() if name not in _INTERNAL})

    @classmethod
    def arguments(cls) -> dict[str, inspect.Parameter]:
        """The constructor's parameters by name: its own, then those of its base passed on as ``**options``.

        Example:
            >>> list(HPSS.arguments())
            ['kernel_size', 'power', 'margin', 'mask_type', 'mask_threshold', 'stft', 'sample_rate', 'trainable']
        """
        found: dict[str, inspect.Parameter] = {}
        for kind in cls.__mro__:
            if "__init__" not in vars(kind):
                continue
            own = list(inspect.signature(kind.__init__).parameters.values())[1:]  # type: ignore[misc]
            options = [parameter for parameter in own if parameter.kind is parameter.VAR_KEYWORD]
            for parameter in own:
                if parameter not in options:
                    found.setdefault(parameter.name, parameter)
            if not options:
                break
        return found

    @property
    def config(self) -> dict[str, Any]:
        """The registry name and the arguments as plain values; modules as nested configs."""
        return {"name": registry_name(type(self)), **{name: _plain(value) for name, value in self._stored().items()}}

    def extra_repr(self) -> str:
        """The arguments that are not modules; modules have their own lines."""
        plain = {name: _plain(value) for name, value in self._stored().items() if not isinstance(value, nn.Module)}
        return ", ".join(f"{name}={value!r}" for name, value in plain.items())

    def _stored(self) -> dict[str, Any]:
        missing = [name for name in self.arguments() if not hasattr(self, name)]
        if missing:  # not an AttributeError, which nn.Module would attribute to the property
            raise TypeError(f"{type(self).__name__} must store its arguments under their names: {', '.join(missing)}")
        return {name: getattr(self, name) for name in self.arguments()}
