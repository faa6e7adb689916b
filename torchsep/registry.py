"""Registry of classes by name, and construction of separators from names and configs."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args

import torchsep.networks
import torchsep.separators
from torchsep.checks import nearest
from torchsep.configurable import Configurable, registry_name
from torchsep.separators import Separator
from torchsep.transforms import STFT

__all__ = ["build", "list_separators", "map_separators", "register", "separator_class"]

Kind = TypeVar("Kind", bound=type[Configurable])

_REGISTERED: dict[str, type[Configurable]] = {}

# Argument names and values of version 0.1, so that its checkpoints and YAML configurations can still be read.
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
    """Register a class under its name in snake case; usable as a decorator.

    The classes of the library are already registered. A registered user-defined separator can be built, listed,
    configured, saved and run from the command line like the built-in ones.

    Args:
        kind: class of a separator, network or other configurable module.

    Raises:
        ValueError: if another class is registered under that name.

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
    # A redefinition of the same class, as when a notebook cell is run twice, replaces the previous one.
    if known is not None and (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
        raise ValueError(f"class name must be new, got {kind.__qualname__}: {name} is defined in {known.__module__}")
    _REGISTERED[name] = kind
    return kind


def list_separators() -> list[str]:
    """The registry names of all separators, in alphabetical order.

    Example:
        >>> [name for name in list_separators() if name.startswith("ideal")]
        ['ideal_binary_mask', 'ideal_ratio_mask']
    """
    return sorted(name for name, kind in _REGISTERED.items() if issubclass(kind, Separator))


def separator_class(name: str) -> type[Separator]:
    """The separator class of a registry name.

    Raises:
        ValueError: if the name is not registered; the message suggests the closest one.
    """
    kind = _REGISTERED.get(name)
    if kind is None or not issubclass(kind, Separator):
        names = list_separators()
        hint = nearest(name, names) or f"; known are {', '.join(names)}"
        raise ValueError(f"separator must be a registered name, got {name!r}{hint}")
    return kind


def build(separator: str | Mapping[str, Any], /, **arguments: Any) -> Separator:
    """Build a separator from its registry name or a ``config``.

    Args:
        separator: registry name, or a mapping of ``name`` and arguments. Nested modules are such mappings too, and
            nested separators may also be names; they inherit the sample rate unless they define one.
        arguments: constructor arguments; they take precedence over those of a mapping.

    Raises:
        ValueError: if the name or an argument is unknown, an argument is missing, or its value is not allowed.

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


def map_separators(config: Mapping[str, Any], function: Callable[[Any], Any]) -> dict[str, Any]:
    """A separator's configuration with a function applied to each separator that it contains, innermost first.

    Args:
        config: mapping of ``name`` and arguments.
        function: given a name, a mapping of a name and arguments, or a separator.

    Example:
        >>> config = {"name": "ensemble_clustering", "separators": ["hpss", {"name": "refine", "separator": "repet"}]}
        >>> map_separators(config, lambda part: part if isinstance(part, dict) else part.upper())["separators"]
        ['HPSS', {'name': 'refine', 'separator': 'REPET'}]
    """
    known = _REGISTERED[config["name"]].arguments() if config.get("name") in _REGISTERED else {}

    def mapped(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [mapped(item) for item in value]
        return function(map_separators(value, function) if isinstance(value, Mapping) else value)

    taken = {name for name, parameter in known.items() if _takes_separators(parameter)}
    return {name: mapped(value) if name in taken else value for name, value in config.items()}


def _construct(kind: type[Any], name: str, arguments: Mapping[str, Any]) -> Any:
    """An instance of a class, with argument names checked and nested configs built."""
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
    """The current name of an argument that was renamed since version 0.1."""
    renamed = _RENAMED_ARGUMENTS.get(argument, argument)
    return renamed if argument not in known and renamed in known else argument


def _takes_separators(parameter: inspect.Parameter) -> bool:
    """Whether an argument is a separator or a sequence of separators, so that a string is a registry name."""
    kinds = (parameter.annotation, *get_args(parameter.annotation))
    return any(isinstance(kind, type) and issubclass(kind, Separator) for kind in kinds)


def _value(value: Any, sample_rate: Any, takes_separators: bool) -> Any:  # noqa: FBT001 - private
    """An argument with nested configs built; they inherit the sample rate unless they define one."""
    if takes_separators and isinstance(value, str):
        separator_class(value)  # raises, with the closest name, if unknown
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
