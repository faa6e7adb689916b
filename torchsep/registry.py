"""From names to separators and back."""

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

import torchsep.networks
import torchsep.separators
from torchsep.checks import nearest
from torchsep.configurable import Configurable, registry_name
from torchsep.separators import Separator
from torchsep.transforms import STFT

__all__ = ["build", "list_separators", "register", "separator_class"]

Kind = TypeVar("Kind", bound=type[Configurable])

_REGISTERED: dict[str, type[Configurable]] = {}

# Names and values of version 0.1 in saved configurations, so that its checkpoints and YAML files can still be read.
_RENAMED_ARGUMENTS = {
    "epsilon": "tol",
    "high_pass_cutoff": "high_pass_cutoff_hz",
    "iterations": "num_iterations",
    "max_iterations": "max_iter",
    "maximum_delay_in_samples": "max_delay_samples",
    "maximum_frequency": "max_frequency_hz",
    "minimum_frequency": "min_frequency_hz",
    "minimum_peak_salience": "min_peak_salience",
    "num_iterations": "max_iter",
    "returns": "source_indices",
    "window_type": "window",
}
_RENAMED_VALUES = {
    "GaussianMixture": "gaussian_mixture",
    "KMeans": "kmeans",
    "MiniBatchKMeans": "minibatch_kmeans",
    "itakura-saito": "itakura_saito",
    "kullback-leibler": "kullback_leibler",
}


def register(kind: Kind) -> Kind:
    """Make a class known by its name in snake case; usable as a decorator.

    What the library brings is registered already. A separator of your own, once registered, is built, listed,
    configured, saved and run from the command as those are.

    Raises:
        ValueError: if another class has that name.

    Example:
        >>> from torchsep.separators import MixAsEstimate
        >>> class HalfAndHalf(MixAsEstimate):
        ...     '''Return half of the mixture twice.'''
        >>> _ = register(HalfAndHalf)
        >>> build("half_and_half", num_sources=2, sample_rate=8000).names
        ('source_1', 'source_2')
        >>> _ = _REGISTERED.pop("half_and_half")
    """
    name = registry_name(kind)
    known = _REGISTERED.get(name)
    # A class defined again, as when a notebook's cell is run twice, replaces its former self.
    if known is not None and (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
        raise ValueError(f"class name must be new, got {kind.__qualname__}: {name} is {known.__module__}'s")
    _REGISTERED[name] = kind
    return kind


def list_separators() -> list[str]:
    """The names of all registered separators, in alphabetical order.

    Example:
        >>> [name for name in list_separators() if name.startswith("ideal")]
        ['ideal_binary_mask', 'ideal_ratio_mask']
    """
    return sorted(name for name, kind in _REGISTERED.items() if issubclass(kind, Separator))


def separator_class(name: str) -> type[Separator]:
    """The class of a separator's name.

    Raises:
        ValueError: if there is none of that name; the message suggests the nearest.
    """
    kind = _REGISTERED.get(name)
    if kind is None or not issubclass(kind, Separator):
        names = list_separators()
        hint = nearest(name, names) or f"; known are {', '.join(names)}"
        raise ValueError(f"separator must be a registered name, got {name!r}{hint}")
    return kind


def build(separator: str | Mapping[str, Any], /, **arguments: Any) -> Separator:
    """A separator from its registry name, or from another's ``config``.

    Args:
        separator: a name, or a mapping of ``name`` and arguments, in which modules are such mappings again, and
            separators may also be names. What is inside has the sample rate of what it is in, unless it says another.
        arguments: the constructor's; they take precedence over those of a mapping.

    Raises:
        ValueError: if the name or an argument is not known, an argument is missing, or its value is not allowed.

    Example:
        >>> separator = build("hpss", sample_rate=44100, kernel_size=17)
        >>> build(separator.config).config == separator.config
        True
    """
    given = dict(separator) if isinstance(separator, Mapping) else {"name": separator}
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise ValueError(f"separator must be a name or a mapping with a name, got {separator!r}")
    kind = separator_class(name)
    built: Separator = _construct(kind, name, {**given, **arguments})
    return built


def _construct(kind: type[Any], name: str, arguments: Mapping[str, Any]) -> Any:
    """An instance of a class, its arguments checked by name and built where they are configs."""
    known = kind.arguments()
    arguments = {_current_name(argument, known): value for argument, value in arguments.items()}
    for argument in ("clustering_type", "beta_loss"):
        if isinstance(arguments.get(argument), str):
            arguments[argument] = _RENAMED_VALUES.get(arguments[argument], arguments[argument])
    for argument in arguments:
        if argument not in known:
            hint = nearest(argument, known) or f"; it takes {', '.join(known)}"
            raise ValueError(f"{name} has no argument {argument!r}{hint}")
    missing = [
        argument
        for argument, parameter in known.items()
        if parameter.default is inspect.Parameter.empty and argument not in arguments
    ]
    if missing:
        raise ValueError(f"{name} must be given {', '.join(missing)}")
    rate = arguments.get("sample_rate")
    built = {argument: _value(value, rate, _takes_separators(known[argument])) for argument, value in arguments.items()}
    return kind(**built)


def _current_name(argument: str, known: Mapping[str, Any]) -> str:
    """The name of an argument today, if a class that does not know it knows its new name."""
    renamed = _RENAMED_ARGUMENTS.get(argument, argument)
    return renamed if argument not in known and renamed in known else argument


def _takes_separators(parameter: inspect.Parameter) -> bool:
    """Whether an argument is a separator or a sequence of them, so that a name means one."""
    kinds = (parameter.annotation, *get_args(parameter.annotation))
    return any(isinstance(kind, type) and issubclass(kind, Separator) for kind in kinds)


def _value(value: Any, sample_rate: Any, takes_separators: bool) -> Any:  # noqa: FBT001 - private
    """An argument with the configs in it built, those without a sample rate for that of what they are in."""
    if takes_separators and isinstance(value, str):
        separator_class(value)  # or raise, with the nearest name
        value = {"name": value}
    if isinstance(value, Mapping) and "name" in value:
        name = value["name"]
        if not isinstance(name, str) or name not in _REGISTERED:
            raise ValueError(f"name must be registered, got {name!r}{nearest(str(name), _REGISTERED)}")
        arguments = {key: item for key, item in value.items() if key != "name"}
        if sample_rate is not None and "sample_rate" in _REGISTERED[name].arguments():
            arguments.setdefault("sample_rate", sample_rate)
        return _construct(_REGISTERED[name], name, arguments)
    if isinstance(value, (list, tuple)):
        return [_value(item, sample_rate, takes_separators) for item in value]
    return value


register(STFT)
for _module in (torchsep.networks, torchsep.separators):
    for _name in _module.__all__:
        _kind = getattr(_module, _name)
        if isinstance(_kind, type) and issubclass(_kind, Configurable) and not inspect.isabstract(_kind):
            register(_kind)
