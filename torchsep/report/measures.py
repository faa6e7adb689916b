"""Display names, units and directions of metrics."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torchsep.engine.evaluate.result_reader import Run

__all__ = ["Measure", "format_figure", "measures_of"]

_NAMES = {
    "si_sdr": "SI-SDR",
    "si_sdr_improvement": "SI-SDR improvement",
    "si_sir": "SI-SIR",
    "si_sar": "SI-SAR",
    "sd_sdr": "SD-SDR",
    "sa_sdr": "SA-SDR",
    "sdr": "SDR",
    "sir": "SIR",
    "sar": "SAR",
    "isr": "ISR",
    "snr": "SNR",
    "pesq": "PESQ",
    "stoi": "STOI",
    "estoi": "ESTOI",
}
_WITHOUT_UNIT = {"pesq", "stoi", "estoi"}


@dataclass(frozen=True)
class Measure:
    """Display properties of a metric; ``higher_is_better`` is None if unknown."""

    key: str
    name: str
    unit: str
    higher_is_better: bool | None
    definition: str

    def better(self, values: Sequence[float]) -> float | None:
        """Best of the values, if there are at least two and the direction is known.

        Example:
            >>> measure_of("sdr").better([1.0, float("nan"), 3.0])
            3.0
        """
        known = [value for value in values if not math.isnan(value)]
        if len(known) < 2 or self.higher_is_better is None:
            return None
        return max(known) if self.higher_is_better else min(known)


def measures_of(runs: Sequence[Run]) -> list[Measure]:
    """Metrics of the runs, in the order of their definitions, then of appearance."""
    definitions: dict[str, str] = {}
    for run in runs:
        described = run.settings.get("metrics")
        for key, words in (described if isinstance(described, dict) else {}).items():
            definitions.setdefault(str(key), " ".join(str(words).split()))
    seen = dict.fromkeys(
        key for run in runs for outcome in run.outcomes.values() for row in outcome.scores.values() for key in row
    )
    ordered = dict.fromkeys([key for key in definitions if key in seen] + list(seen))
    return [measure_of(key, definitions.get(key, "")) for key in ordered]


def measure_of(key: str, definition: str = "") -> Measure:
    """Display properties of a metric from its column name and definition.

    Example:
        >>> measure_of("si_sdr").name, measure_of("word_errors", "error rate; lower is better").higher_is_better
        ('SI-SDR', False)
    """
    base = key.removesuffix("_improvement")
    known = base in _NAMES
    words = definition.lower()
    in_db = (known and base not in _WITHOUT_UNIT) or "db" in words.replace(",", " ").replace(".", " ").split()
    higher: bool | None = True if known or in_db else None
    if "lower is better" in words or "higher is better" in words:
        higher = "higher is better" in words
    name = _NAMES.get(key) or (f"{_NAMES[base]} improvement" if known else key.replace("_", " "))
    return Measure(key, name, "dB" if in_db else "", higher, definition)


def format_figure(value: float, digits: int = 2) -> str:
    """Format a number with a typographic minus sign, and NaN as a dash.

    Example:
        >>> format_figure(0.456), format_figure(-0.001), format_figure(math.inf)
        ('0.46', '0.00', '∞')
    """
    if math.isnan(value):
        return "\N{EN DASH}"
    if math.isinf(value):
        return "∞" if value > 0 else "\N{MINUS SIGN}∞"
    text = f"{value:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text) else text.removeprefix("-")
