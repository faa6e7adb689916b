"""The metrics of an evaluation by name, and the assignment of estimates to sources."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchsep import metrics
from torchsep.checks import check_choice
from torchsep.separators.bases.source_names import are_numbered

__all__ = ["MEASURES", "Measure", "MixtureScores", "check_measures", "matching", "measure", "too_few_estimates"]

# Estimates and sources (S, C, T) and a sample rate, to a value for each source by column.
Compute = Callable[[Tensor, Tensor, int], Mapping[str, Sequence[float]]]


class Measure(NamedTuple):
    """A metric: its definition in words, how it is computed, and its columns for which an improvement is defined."""

    definition: str
    compute: Compute
    improving: tuple[str, ...]


class MixtureScores:
    """The metrics of unprocessed mixtures, each computed once and shared by the separators of a sweep."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, str], Mapping[str, Sequence[float]]] = {}

    def of(
        self, key: Hashable, names: Sequence[str], sources: Tensor, mixture: Tensor, sample_rate: int
    ) -> dict[str, Mapping[str, Sequence[float]]]:
        """The values of each metric for each source by column, with the mixture as every estimate.

        Args:
            key: identifies the item and the sources.
            names: of metrics, keys of ``MEASURES``; those without an improvement are skipped.
            sources: ``(S, C, T)``.
            mixture: ``(C, T)``.
            sample_rate: in Hz.
        """
        improving = [name for name in names if MEASURES[name].improving]
        for name in improving:
            if (key, name) not in self._known:
                estimates = mixture.expand_as(sources)
                self._known[key, name] = MEASURES[name].compute(estimates, sources, sample_rate)
        return {name: self._known[key, name] for name in improving}


def measure(
    names: Sequence[str],
    estimates: Tensor,
    sources: Tensor,
    baseline: Mapping[str, Mapping[str, Sequence[float]]],
    sample_rate: int,
) -> list[dict[str, float]]:
    """The metrics of each source, and their improvement over the mixture.

    Args:
        names: of metrics, keys of ``MEASURES``.
        estimates: ``(S, C, T)``, in the order of the sources.
        sources: ``(S, C, T)``.
        baseline: values of the mixture, see :class:`MixtureScores`.
        sample_rate: in Hz.
    """
    scores: list[dict[str, float]] = [{} for _ in sources]
    for name in names:
        chosen = MEASURES[name]
        for column, values in chosen.compute(estimates, sources, sample_rate).items():
            for score, value in zip(scores, values, strict=True):
                score[column] = value
            if column in chosen.improving:
                for score, value, start in zip(scores, values, baseline[name][column], strict=True):
                    score[f"{column}_improvement"] = value - start
    return scores


def matching(
    estimates: Tensor,
    sources: Tensor,
    estimate_names: Sequence[str],
    source_names: Sequence[str],
    match: str = "auto",
) -> list[int]:
    """The index of the estimate of each source.

    Args:
        estimates: ``(E, C, T)``.
        sources: ``(S, C, T)``.
        estimate_names: of all estimates.
        source_names: of all sources.
        match: ``names``, ``best`` (the largest sum of SI-SDR), or ``auto``: by names where the separator names all
            sources and does not just number them.

    Raises:
        ValueError: if there are fewer estimates than sources, since all sources are to be scored; or if ``match`` is
            ``names`` and a source has no estimate of its name.
    """
    check_choice(match, ("auto", "names", "best"), "match")
    if len(estimates) < len(sources):
        raise ValueError(too_few_estimates(estimate_names, source_names))
    has_names = set(source_names) <= set(estimate_names) and not are_numbered(estimate_names)
    if match == "names" or (match == "auto" and has_names):
        missing = [name for name in source_names if name not in estimate_names]
        if missing:
            known = ", ".join(estimate_names)
            raise ValueError(f"match must be best where the separator does not name {', '.join(missing)}, but {known}")
        return [list(estimate_names).index(name) for name in source_names]
    order: list[int] = metrics.match_estimates(metrics.si_sdr, estimates, sources).order.tolist()
    return order


def too_few_estimates(estimate_names: Sequence[str], source_names: Sequence[str]) -> str:
    """The message for a separator with fewer estimates than there are sources.

    Example:
        >>> message = too_few_estimates(["background", "foreground"], ["bass", "drums", "vocals"])
        >>> for part in message.split("; "):
        ...     print(part)
        2 estimates (background, foreground) for 3 sources (bass, drums, vocals)
        group the sources, as in 'data.sources={bass_drums: [bass, drums], vocals: [vocals]}'
    """
    count = len(estimate_names)
    first, *others = source_names[: len(source_names) - count + 1], *source_names[len(source_names) - count + 1 :]
    groups = [f"{'_'.join(first)}: [{', '.join(first)}]", *(f"{name}: [{name}]" for name in others)]
    return (
        f"{count} estimates ({', '.join(estimate_names)}) for {len(source_names)} sources ({', '.join(source_names)}); "
        f"group the sources, as in 'data.sources={{{', '.join(groups)}}}'"
    )


def _ratio(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> Compute:
    """The mean over the channels in which the metric is defined."""
    return lambda estimates, sources, _: {name: function(estimates, sources).nanmean(-1).tolist()}


def _of_all(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> Compute:
    """One value for all sources together."""
    return lambda estimates, sources, _: {name: [function(estimates, sources).item()] * len(sources)}


def _bss_eval_v4(estimates: Tensor, sources: Tensor, sample_rate: int) -> dict[str, list[float]]:
    found = metrics.bss_eval_v4(estimates, sources, sample_rate=sample_rate)
    columns = {"sdr": found.sdr, "isr": found.isr, "sir": found.sir, "sar": found.sar}
    return {name: metrics.frame_median(values).tolist() for name, values in columns.items()}


def _bss_eval_images(estimates: Tensor, sources: Tensor, sample_rate: int) -> dict[str, list[float]]:  # noqa: ARG001
    found = metrics.bss_eval_images(estimates, sources, permute=False)
    return {f"images_{name}": getattr(found, name).tolist() for name in ("sdr", "isr", "sir", "sar")}


def _bss_eval_sources(estimates: Tensor, sources: Tensor, sample_rate: int) -> dict[str, list[float]]:  # noqa: ARG001
    channels = range(sources.shape[1])
    found = [metrics.bss_eval_sources(estimates[:, [c]], sources[:, [c]], permute=False) for c in channels]
    return {
        f"sources_{name}": torch.stack([getattr(one, name) for one in found]).nanmean(0).tolist()
        for name in ("sdr", "sir", "sar")
    }


def _speech(kind: str) -> Compute:
    """A metric of the extra ``speech``: the mean over the channels in which it is defined."""

    def compute(estimates: Tensor, sources: Tensor, sample_rate: int) -> dict[str, list[float]]:
        found = getattr(metrics, kind)(sample_rate=sample_rate).metric(estimates, sources)
        return {kind.lower(): found.nanmean(-1).tolist()}

    return compute


_WHOLE = "in dB, over the whole item, the mean over its channels"
_FILTERS = "in dB, distortion filters of 512 taps"

MEASURES: dict[str, Measure] = {
    "si_sdr": Measure(
        f"scale-invariant SDR of zero-mean signals (Le Roux et al. 2019), {_WHOLE}",
        _ratio("si_sdr", metrics.si_sdr),
        ("si_sdr",),
    ),
    "sd_sdr": Measure(
        f"scale-dependent SDR of zero-mean signals (Le Roux et al. 2019), {_WHOLE}",
        _ratio("sd_sdr", metrics.sd_sdr),
        ("sd_sdr",),
    ),
    "snr": Measure(f"energy of the source to that of the error, {_WHOLE}", _ratio("snr", metrics.snr), ("snr",)),
    "si_sir": Measure(
        f"scale-invariant ratio to interference (Le Roux et al. 2019), {_WHOLE}", _ratio("si_sir", metrics.si_sir), ()
    ),
    "si_sar": Measure(
        f"scale-invariant ratio to artifacts (Le Roux et al. 2019), {_WHOLE}", _ratio("si_sar", metrics.si_sar), ()
    ),
    "sa_sdr": Measure(
        "source-aggregated SDR, in dB, one value for all sources and channels of an item",
        _of_all("sa_sdr", metrics.sa_sdr),
        ("sa_sdr",),
    ),
    "bss_eval_v4": Measure(
        f"BSS Eval version 4 of images, {_FILTERS} found on the whole item, median over frames of 1 s",
        _bss_eval_v4,
        ("sdr",),
    ),
    "bss_eval_images": Measure(
        f"BSS Eval version 3 of images, {_FILTERS}, over the whole item", _bss_eval_images, ("images_sdr",)
    ),
    "bss_eval_sources": Measure(
        f"BSS Eval version 3 of sources, {_FILTERS}, over the whole item, the mean over its channels",
        _bss_eval_sources,
        ("sources_sdr",),
    ),
    "pesq": Measure(
        "perceptual evaluation of speech quality (ITU-T P.862), narrow band, mean over channels; higher is better",
        _speech("PESQ"),
        ("pesq",),
    ),
    "stoi": Measure(
        "short-time objective intelligibility (Taal et al. 2011), mean over channels; higher is better",
        _speech("STOI"),
        ("stoi",),
    ),
}

_OF_SPEECH = {"pesq": "PESQ", "stoi": "STOI"}


def check_measures(names: Sequence[str]) -> None:
    """Raise unless all metrics are known and their packages are installed.

    Raises:
        ValueError: if not; it says what is missing.
    """
    if not names:
        raise ValueError(f"evaluation.metrics must name some of {', '.join(MEASURES)}, got none")
    for name in names:
        check_choice(name, tuple(MEASURES), "evaluation.metrics")
        if name in _OF_SPEECH:
            try:
                getattr(metrics, _OF_SPEECH[name])(sample_rate=16000)
            except ImportError as error:
                raise ValueError(str(error)) from None
