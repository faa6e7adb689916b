"""The separator of a run: chosen once, and built once for each sample rate."""

import difflib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from torchsep import registry
from torchsep.checkpoint import load, released
from torchsep.checks import check_choice, nearest
from torchsep.configurable import registry_name
from torchsep.engine.config import compose, parse_overrides, plain
from torchsep.engine.windows import in_windows
from torchsep.separators import OverlapAdd, Resampled, Separator
from torchsep.separators.bases.source_names import check_source_names
from torchsep.separators.resampled import HIGH_BANDS

__all__ = ["Run", "SeparatorChoice", "configure", "imported_class", "unknown_separator"]


class SeparatorChoice:
    """A separator, or the name and arguments of one, without the sample rate.

    A separator given by name and arguments is built for every sample rate that is asked for; one with weights works at
    its own rate, with resampling around it.

    Args:
        separator: a separator, or a mapping of ``name`` and arguments.
        label: names its results; the registry name if empty.
        high_band: of a separator at a lower sample rate than the mixtures, as for :class:`Resampled`.

    Raises:
        ValueError: if the name is unknown or the arguments hold a sample rate.

    Example:
        >>> choice = SeparatorChoice({"name": "high_low_pass_filter", "cutoff_hz": 500.0})
        >>> choice.at(8000) is choice.at(8000), choice.at(16000).sample_rate
        (True, 16000)
    """

    def __init__(self, separator: Separator | Mapping[str, Any], label: str = "", high_band: str = "drop") -> None:
        self._separator = separator if isinstance(separator, Separator) else None
        self._built: dict[tuple[int, int | None, float | None], Separator] = {}
        self.config: dict[str, Any] = separator.config if isinstance(separator, Separator) else dict(separator)
        self.kind = type(separator) if isinstance(separator, Separator) else registry.separator_class(self.name)
        self.label = label or self.name
        self.high_band = high_band
        check_choice(high_band, HIGH_BANDS, "high_band")
        if self._separator is None and "sample_rate" in self.config:
            raise ValueError("sample_rate follows each recording and must not be given")

    @property
    def name(self) -> str:
        """The registry name of the separator."""
        return str(self.config.get("name"))

    def at(self, sample_rate: int, num_sources: int | None = None, window_duration: float | None = None) -> Separator:
        """The separator for mixtures of a sample rate, in evaluation mode; built on the first call for each rate.

        Args:
            sample_rate: of the mixtures, in Hz.
            num_sources: number of true sources, used where the separator needs a number and the arguments have none.
            window_duration: in seconds, to separate in windows; has no effect on a separator that does so itself.

        Raises:
            ValueError: if an argument is missing, unknown or wrong, or the names of the sources cannot name files.
        """
        is_open = num_sources is not None and self._needs_num_sources()
        key = sample_rate, num_sources if is_open else None, window_duration
        if key in self._built:
            return self._built[key]
        separator: Separator
        if window_duration is not None:
            separator = in_windows(self.at(sample_rate, num_sources), window_duration)
        elif self._separator is not None:
            separator = _resampled(self._separator, sample_rate, self.high_band)
        else:
            number = {"num_sources": num_sources} if is_open else {}
            separator = registry.build(self.config, sample_rate=sample_rate, **number)
        check_source_names(separator.names)  # which become names of files
        self._built[key] = separator.eval()
        return self._built[key]

    def check(self, *, has_sources: bool, built: Separator | None = None) -> None:
        """Raise unless the separator can run on recordings, with their true sources known or not.

        Args:
            has_sources: whether the true sources are known.
            built: the separator, once it is built; one that contains others may require more than its class.

        Raises:
            ValueError: if it is not trained, or needs estimates, or true sources that are not known.
        """
        if self._separator is None and _needs_network(self.config):
            raise ValueError(f"{self.name} needs a trained network; give a checkpoint instead: a file, folder or name")
        known = built or self._separator
        if known is not None and not known.is_trained:
            name = next(registry_name(type(part)) for part in known.modules() if _is_untrained(part))
            command = f"torchsep train separator={name} train_data.root=FOLDER"
            raise ValueError(f"{name} must be trained, got random initial values; `{command}` writes a checkpoint")
        requires = (built or self._separator or self.kind).requires
        if "estimates" in requires:
            raise ValueError(f"{self.name} refines estimates; combine it with a separator by `refine`")
        if requires and not has_sources:
            needs = ", ".join(requires)
            raise ValueError(
                f"{self.name} needs the true {needs}, which files alone do not hold; try `torchsep demo -s {self.name}`"
            )

    def _needs_num_sources(self) -> bool:
        if self._separator is not None or "num_sources" in self.config:
            return False
        parameter = self.kind.arguments().get("num_sources")
        return parameter is not None and parameter.default is inspect.Parameter.empty


class Run(NamedTuple):
    """The configuration of a run, and the separator that it names."""

    config: DictConfig
    choice: SeparatorChoice


def configure(
    overrides: Sequence[str] = (),
    separator: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    high_band: str = "drop",
) -> Run:
    """The configuration of a run and its separator, composed once.

    Args:
        overrides: of Hydra; ``separator=`` may be anything that ``separator`` here can be.
        separator: a registered name, whose preset in ``configs/separator`` is used if there is one; a checkpoint; a
            YAML file of a name and arguments; or ``module:Class`` or ``file.py:Class`` for a class of your own, which
            is imported and registered.
        parameters: arguments of the separator, in addition to those of its preset.
        high_band: of a checkpoint at a lower sample rate than the mixtures, as for :class:`Resampled`.

    Raises:
        FileNotFoundError: if a YAML, Python or checkpoint file is missing.
        ValueError: if there is no such separator, or an override or argument cannot be used.

    Example:
        >>> run = configure(["separator=repet", "separator.min_period=1.5", "data=scenes"])
        >>> run.choice.config, run.config.data.num_items
        ({'name': 'repet', 'min_period': 1.5}, 100)
    """
    given = parse_overrides(overrides)
    rest = [override.input_line or "" for override in given if not _is_separator(override)]
    chosen = separator or next((str(override.value()) for override in given if _is_separator(override)), None)
    checkpoint = None if chosen is None else _checkpoint(chosen)
    if chosen is None:
        config = compose(rest)
    elif checkpoint is not None:
        wrong = [line.partition("=")[0] for line in rest if line.startswith("separator.")] + list(parameters or {})
        if wrong:
            raise ValueError(f"parameters do not go with a checkpoint, got {', '.join(wrong)} for {chosen}")
        return Run(compose(rest), SeparatorChoice(checkpoint, _checkpoint_label(chosen), high_band))
    elif chosen.endswith((".yaml", ".yml")):
        config = compose(rest, separator=_read(Path(chosen)))
    else:
        name = registry_name(imported_class(chosen)) if ":" in chosen else chosen
        if name not in registry.list_separators():
            raise unknown_separator(name)
        config = compose([f"separator={name}", *rest])
    if high_band != "drop":
        rule = "be omitted for a separator that takes the sample rate of each file"
        raise ValueError(f"high_band must {rule}, got {high_band}; -p high_band={high_band} is for `resampled`")
    return Run(config, SeparatorChoice({**plain(config.separator), **(parameters or {})}))


def _is_separator(override: Override) -> bool:
    """Whether an override chooses the separator."""
    return override.key_or_group == "separator" and not (override.is_delete() or override.package)


def _needs_network(config: Any) -> bool:
    """Whether a configuration, which holds no weights, has or wants a network somewhere inside."""
    if isinstance(config, Mapping):
        return any(
            (key == "network" and (value is None or isinstance(value, Mapping))) or _needs_network(value)
            for key, value in config.items()
        )
    return isinstance(config, (list, tuple)) and any(map(_needs_network, config))


def _is_untrained(part: object) -> bool:
    """Whether a module is a separator that is not trained itself, rather than one inside it."""
    if not isinstance(part, Separator) or part.is_trained:
        return False
    inside = [inner for inner in part.modules() if inner is not part and isinstance(inner, Separator)]
    return all(inner.is_trained for inner in inside)


def _resampled(separator: Separator, sample_rate: int, high_band: str) -> Separator:
    """A separator for another sample rate; of one in windows, whole windows are resampled."""
    if separator.sample_rate == sample_rate:
        return separator
    if not isinstance(separator, OverlapAdd):
        return Resampled(separator, high_band, sample_rate=sample_rate)
    return OverlapAdd(
        _resampled(separator.separator, sample_rate, high_band),
        separator.window_duration,
        separator.hop_duration,
        separator.window,
        separator.find_permutation,
        separator.batch_size,
        sample_rate=sample_rate,
    )


def _checkpoint(choice: str) -> Separator | None:
    """The checkpoint that a text names, if any; registered names take precedence over folders."""
    is_file = choice.startswith("hub:") or choice.endswith(".safetensors")
    is_described = choice.endswith((".yaml", ".yml")) or (":" in choice and not is_file)
    if is_described or choice in registry.list_separators():
        return None
    try:
        return load(choice)
    except FileNotFoundError:
        if is_file:
            raise
        return None


def _checkpoint_label(choice: str) -> str:
    """The name of a checkpoint: that of its file, or of the folder of a ``model.safetensors``."""
    if choice.startswith("hub:"):
        return choice.partition("/")[2].replace("/", "-")
    path = Path(os.path.abspath(choice))  # noqa: PTH100 - which removes `..`
    if path.name == "model.safetensors":
        return path.parent.name
    return path.stem if path.suffix == ".safetensors" else path.name


def _read(path: Path) -> dict[str, Any]:
    """A separator described in a YAML file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; it should hold a separator's name and arguments")
    import yaml

    try:
        config = OmegaConf.load(path)
    except (OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(config, DictConfig) or not isinstance(config.get("name"), str):
        raise ValueError(f"{path} must hold a mapping with the name of a separator and its arguments")
    registry.separator_class(config.name)
    described: dict[str, Any] = plain(config)
    return described


def unknown_separator(name: str) -> ValueError:
    """The error for a name that is neither a separator nor a model, with the nearest of both."""
    known, written = [*registry.list_separators(), *released()], name.lower()  # papers write names in capitals
    near = ", ".join(difflib.get_close_matches(written, known, n=3, cutoff=0.0))
    hint = nearest(written, known) or f"; the nearest are {near}"
    rule = "be a name from `torchsep list`, a checkpoint, a YAML file, or module:Class"
    return ValueError(f"separator must {rule}, got {name!r}{hint}")


def imported_class(choice: str) -> type[Separator]:
    """A user-defined class, ``module:Class`` or ``file.py:Class``, imported and registered."""
    where, _, name = choice.rpartition(":")
    try:
        if where.endswith(".py"):
            specification = importlib.util.spec_from_file_location(Path(where).stem, where)
            if specification is None or specification.loader is None or not Path(where).is_file():
                raise FileNotFoundError(f"{where} does not exist")
            module = importlib.util.module_from_spec(specification)
            sys.modules[specification.name] = module
            specification.loader.exec_module(module)
        else:
            sys.path.insert(0, str(Path.cwd()))  # as `python -m` does
            module = importlib.import_module(where)
    except (ImportError, SyntaxError) as error:
        raise ValueError(f"{where} cannot be imported: {error}") from None
    kind = getattr(module, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Separator)):
        raise ValueError(f"{choice} must be a subclass of Separator, got {kind!r}")
    return registry.register(kind)
