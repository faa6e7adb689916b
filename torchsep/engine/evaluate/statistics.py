"""Summary statistics: median, mean with confidence interval, quartiles."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Statistics", "statistics_of", "student_quantile"]


@dataclass(frozen=True)
class Statistics:
    """Summary statistics of one metric over items.

    Args:
        count: number of defined values, including infinite ones.
        infinite: number of infinite values, which are part of the median but not of the mean.
        median: of the defined values.
        mean: of the finite values.
        margin: half of the 95 % confidence interval of the mean by Student's t; NaN for fewer than two values.
        quartiles: first and third, of the finite values.
        whiskers: minimum and maximum of the values within 1.5 interquartile ranges of the quartiles.
        extremes: minimum and maximum of the defined values.
    """

    count: int
    infinite: int
    median: float
    mean: float
    margin: float
    quartiles: tuple[float, float]
    whiskers: tuple[float, float]
    extremes: tuple[float, float]

    @property
    def five(self) -> tuple[float, ...]:
        """Minimum, first quartile, median, third quartile, maximum."""
        return (self.extremes[0], self.quartiles[0], self.median, self.quartiles[1], self.extremes[1])


def statistics_of(values: Sequence[float]) -> Statistics:
    """Summary statistics of values; NaN is omitted.

    Example:
        >>> summary = statistics_of([1.0, 2.0, 3.0, float("nan"), float("inf")])
        >>> summary.count, summary.infinite, summary.median, summary.mean, round(summary.margin, 3)
        (4, 1, 2.5, 2.0, 2.484)
    """
    defined = sorted(value for value in values if not math.isnan(value))
    finite = [value for value in defined if math.isfinite(value)]
    none = (math.nan, math.nan)
    if not finite:
        median = statistics.median(defined) if defined else math.nan
        extremes = (defined[0], defined[-1]) if defined else none
        return Statistics(len(defined), len(defined), median, math.nan, math.nan, none, none, extremes)
    low, _, high = statistics.quantiles(finite, n=4, method="inclusive") if len(finite) > 1 else finite * 3
    reach = 1.5 * (high - low)
    inside = [value for value in finite if low - reach <= value <= high + reach]
    margin = math.nan
    if len(finite) > 1:
        margin = student_quantile(len(finite) - 1) * statistics.stdev(finite) / math.sqrt(len(finite))
    return Statistics(
        count=len(defined),
        infinite=len(defined) - len(finite),
        median=statistics.median(defined),
        mean=statistics.fmean(finite),
        margin=margin,
        quartiles=(low, high),
        whiskers=(inside[0], inside[-1]),
        extremes=(defined[0], defined[-1]),
    )


def student_quantile(freedom: int, confidence: float = 0.95) -> float:
    """The two-sided quantile of Student's t distribution.

    The distribution function is a finite sum for integer degrees of freedom; it is inverted by bisection.

    Args:
        freedom: degrees of freedom, at least 1.
        confidence: probability of the interval from minus to plus the quantile.

    Example:
        >>> [round(student_quantile(freedom), 3) for freedom in (1, 2, 10, 1000)]
        [12.706, 4.303, 2.228, 1.962]

    References:
        M. Abramowitz and I. Stegun, "Handbook of Mathematical Functions", 1964, 26.7.3 and 26.7.4.
    """
    low, high = 0.0, math.pi / 2  # of the arc tangent of t / sqrt(freedom)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle, freedom) < confidence else (low, middle)
    return math.tan(low) * math.sqrt(freedom)


def _inside(angle: float, freedom: int) -> float:
    """The probability of the interval of plus and minus ``sqrt(freedom) * tan(angle)``."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = total = (cosine if odd else 1.0) if freedom > 1 else 0.0
    for power in range(3 if odd else 2, freedom - 1, 2):
        term *= cosine * cosine * (power - 1) / power
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
