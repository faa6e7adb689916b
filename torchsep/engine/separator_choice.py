"""The separator of a run: chosen once, and built once for each sample rate."""

import difflib
from collections.abc import Mapping
from typing import Any

from torchsep import registry
from torchsep.checkpoint import load, released
from torchsep.checks import check_choice, nearest
from torchsep.configurable import registry_name
from torchsep.engine.windows import in_windows
from torchsep.separators import OverlapAdd, Resampled, Separator
from torchsep.separators.bases.source_names import check_source_names
from torchsep.separators.resampled import HIGH_BANDS

__all__ = ["SeparatorChoice", "unknown_separator"]


class SeparatorChoice:
    """A separator, or the name and arguments of one, without the sample rate.

    A separator given by name and arguments is built for every sample rate that is asked for; one with weights works at
    its own rate, with resampling around it. Where an argument is a separator, it may be the name of one, or a
    checkpoint: a file, a folder, the name of one shipped with the library, or ``hub:user/name``. The whole then works
    at the sample rate of the checkpoint, the highest if there are several.

    Args:
        separator: a separator, or a mapping of ``name`` and arguments.
        label: names its results; the registry name if empty.
        high_band: of a separator at a lower sample rate than the mixtures, as for :class:`Resampled`.

    Raises:
        FileNotFoundError: if an argument names a checkpoint that does not exist.
        ValueError: if a name is unknown or the arguments hold a sample rate.

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
        self.loaded: list[Separator] = [] if self._separator is None else [self._separator]
        """The separators with weights: the separator itself, or the checkpoints among its arguments."""
        is_ready = self._separator is not None
        self._resolved = self.config if is_ready else registry.map_separators(self.config, self._resolve)

    @property
    def name(self) -> str:
        """The registry name of the separator."""
        return str(self.config.get("name"))

    def at(self, sample_rate: int, num_sources: int | None = None, window_duration: float | None = None) -> Separator:
        """The separator for mixtures of a sample rate, in evaluation mode; built on the first call for each rate.

        Args:
            sample_rate: of the mixtures, in Hz.
            num_sources: number of true sources, if they are known: the ``num_sources`` of each separator that takes it,
                where the arguments have none.
            window_duration: in seconds, to separate in windows; has no effect on a separator that does so itself.

        Raises:
            ValueError: if an argument is missing, unknown or wrong, or the names of the sources cannot name files.
        """
        key = sample_rate, num_sources if self._separator is None else None, window_duration
        if key in self._built:
            return self._built[key]
        separator: Separator
        if window_duration is not None:
            separator = in_windows(self.at(sample_rate, num_sources), window_duration)
        elif self._separator is not None:
            separator = _resampled(self._separator, sample_rate, self.high_band)
        elif self.loaded and not issubclass(self.kind, Resampled):
            own_rate = max(part.sample_rate for part in self.loaded)
            separator = _resampled(self._build(own_rate, num_sources), sample_rate, self.high_band)
        else:
            separator = self._build(sample_rate, num_sources)
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

    def _resolve(self, part: Any) -> Any:
        """A separator among the arguments, loaded if it is a checkpoint."""
        if not isinstance(part, str) or part in registry.list_separators():
            return part
        try:
            separator = load(part)
        except FileNotFoundError:
            if part.startswith("hub:") or part.endswith(".safetensors"):
                raise
            raise unknown_separator(part) from None
        self.loaded.append(separator)
        return separator

    def _build(self, sample_rate: int, num_sources: int | None) -> Separator:
        """The separator from its arguments."""

        def completed(part: Any) -> Any:
            if isinstance(part, Separator):
                return part if issubclass(self.kind, Resampled) else _resampled(part, sample_rate, self.high_band)
            config = {"name": part} if isinstance(part, str) else dict(part)
            is_open = num_sources is not None and "num_sources" not in config
            if is_open and "num_sources" in registry.separator_class(str(config.get("name"))).arguments():
                config["num_sources"] = num_sources
            return config

        config = completed(registry.map_separators(self._resolved, completed))
        return registry.build(config, sample_rate=sample_rate)


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


def unknown_separator(name: str) -> ValueError:
    """The error for a name that is neither a separator nor a model, with the nearest of both."""
    known, written = [*registry.list_separators(), *released()], name.lower()  # papers write names in capitals
    near = ", ".join(difflib.get_close_matches(written, known, n=3, cutoff=0.0))
    hint = nearest(written, known) or f"; the nearest are {near}"
    rule = "be a name from `torchsep list`, a checkpoint, a YAML file, or module:Class"
    return ValueError(f"separator must {rule}, got {name!r}{hint}")
