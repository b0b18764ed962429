"""What a threshold would have done to the live traffic that workers counted (`ScoreDistribution`).

Rates, not counts, are added up over workers: one may have counted for an hour, another for the ten
minutes since it began. Scores are known within 1 % (`ScoreSketch`), so are thresholds.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from anoean_stream.cli.times import show_span
from anoean_stream.detector.sketch import ScoreSketch, upper_edge
from anoean_stream.errors import ConfigError
from anoean_stream.records.workerreport import ScoreDistribution

HOUR_S: Final = 3600.0

ENOUGH_S: Final = 600.0
"""Seconds of traffic below which a figure is called rough: ten minutes hold no backup, no lunch break."""

_UNEVEN: Final = 1.5
"""Longest over shortest time of the workers from which figures are called rough: then a third of what one
counted may have moved to another meanwhile."""

_Z: Final = 1.959964
"""Of the normal distribution, for 95 %."""


@dataclass(frozen=True, slots=True)
class AlertRate:
    """Alerts an hour that a threshold would have made.

    Parameters
    ----------
    per_hour : float
        Over all workers.
    low, high : float
        95 % interval, were alerts independent; they come in bursts, so the truth is wider.
    n_seen : int
        Records above the threshold from which this is known.
    """

    per_hour: float
    low: float
    high: float
    n_seen: int

    def __str__(self) -> str:
        """Return it as ``19 (12 to 29)``."""
        return f"{_digits(self.per_hour)} ({_digits(self.low)} to {_digits(self.high)})"


@dataclass(frozen=True, slots=True)
class Traffic:
    """Scores that one version gave to live traffic.

    Parameters
    ----------
    version : str
        The version.
    distributions : tuple of ScoreDistribution
        One for each worker, each of more than no time.
    """

    version: str
    distributions: tuple[ScoreDistribution, ...]

    @classmethod
    def of(cls, version: str, distributions: Iterable[ScoreDistribution | None]) -> "Traffic":
        """Return the traffic of a version; distributions of others, and empty ones, are left out."""
        return cls(
            version,
            tuple(
                one for one in distributions if one and one.version == version and one.seconds > 0
            ),
        )

    @property
    def n_records(self) -> int:
        """Scores that were counted."""
        return sum(one.records for one in self.distributions)

    @property
    def records_per_hour(self) -> float:
        """Records an hour of the whole fleet."""
        return sum(one.records * HOUR_S / one.seconds for one in self.distributions)

    @property
    def hours(self) -> float:
        """Hours in which the whole fleet would have counted so many; 0 without any."""
        return self.n_records / self.records_per_hour if self.n_records else 0.0

    @property
    def is_even(self) -> bool:
        """Whether all workers counted for about as long; if not, partitions may have moved meanwhile."""
        seconds = [one.seconds for one in self.distributions]
        return not seconds or max(seconds) <= _UNEVEN * min(seconds)

    def alert_rate(self, distance: float) -> AlertRate:
        """Return how many alerts an hour a threshold would have made."""
        counts = [ScoreSketch(dict(one.bins)).n_above(distance) for one in self.distributions]
        hours = [one.seconds / HOUR_S for one in self.distributions]
        per_hour, low, high = rate_interval(counts, hours)
        return AlertRate(per_hour, low, high, sum(counts))

    def distance_for(self, alerts_per_hour: float) -> float:
        """Return the smallest edge of a bin above which at most so many records an hour lie.

        There must be some traffic.

        Raises
        ------
        ConfigError
            When so few are asked for that not one was to be seen in the time that was counted.
        """
        n_expected = alerts_per_hour * self.hours
        if n_expected < 1:
            raise ConfigError(self._too_few(alerts_per_hour))
        rates: dict[int, float] = {}
        for one in self.distributions:
            for number, count in one.bins.items():
                rates[number] = rates.get(number, 0.0) + count * HOUR_S / one.seconds
        above = 0.0
        for number in sorted(rates, reverse=True):
            above += rates[number]
            # Sums of rates are rounded: one alert in a million more is no reason for another bin.
            if above > alerts_per_hour * (1 + 1e-9):
                return upper_edge(number)
        return 0.0

    def distance_for_share(self, share: float) -> float | None:
        """Return the smallest edge above which at most this share of the records lies.

        None when not one record was to be seen above it.
        """
        n_above = share * self.n_records
        return self.merged().score_above_which(n_above + 1e-9) if n_above >= 1 else None

    def merged(self) -> ScoreSketch:
        """Return the counts of all workers together."""
        sketch = ScoreSketch()
        for one in self.distributions:
            sketch.merge(one.bins)
        return sketch

    def describe(self) -> str:
        """Return what it rests on, in a few words."""
        n = len(self.distributions)
        rough = ""
        if self.hours * HOUR_S < ENOUGH_S:
            rough = "; that is short, so take it as rough"
        elif not self.is_even:
            rough = "; some workers began later than others, so take it as rough"
        return (
            f"{self.n_records:,} records in {show_span(self.hours * HOUR_S)} by {n} worker"
            f"{'' if n == 1 else 's'} ({_digits(self.records_per_hour)} an hour){rough}"
        )

    def _too_few(self, alerts_per_hour: float) -> str:
        least = 1 / self.hours
        wait_s = HOUR_S / alerts_per_hour
        wait = (
            f"wait until {show_span(wait_s)} were counted, "
            if wait_s <= HOUR_S
            else "reports reach back an hour at the most, so "
        )
        return (
            f"{alerts_per_hour:g} alerts an hour cannot be told from {show_span(self.hours * HOUR_S)} of "
            f"traffic: not one record was to be expected above such a threshold; {wait}ask for at least "
            f"{math.ceil(least)}, or for --false-positive-rate or --distance"
        )


def rate_interval(counts: Sequence[int], hours: Sequence[float]) -> tuple[float, float, float]:
    """Return the sum of ``count / hours`` and its 95 % interval for Poisson counts.

    Where all have the same hours this is Garwood's interval of the count: within 1 % from ten records
    on, within 10 % below.

    References
    ----------
    Fay and Feuer, "Confidence intervals for directly standardized rates", Statistics in Medicine 16
    (1997): the interval of a weighted sum. Wilson and Hilferty (1931): quantiles of chi-squared.

    Examples
    --------
    >>> [round(value, 1) for value in rate_interval([10], [1.0])]
    [10.0, 4.8, 18.4]
    """
    if not hours:
        return 0.0, 0.0, math.inf
    weights = [1 / one for one in hours]
    rate = sum(count * weight for count, weight in zip(counts, weights, strict=True))
    variance = sum(count * weight**2 for count, weight in zip(counts, weights, strict=True))
    largest = max(weights)
    low = 0.0
    if rate > 0:
        low = variance / (2 * rate) * _chi_squared(2 * rate**2 / variance, -_Z)
    above, spread = rate + largest, variance + largest**2
    return rate, low, spread / (2 * above) * _chi_squared(2 * above**2 / spread, _Z)


def _chi_squared(degrees: float, z: float) -> float:
    part = 2 / (9 * degrees)
    return degrees * max(1 - part + z * math.sqrt(part), 0.0) ** 3


def _digits(value: float) -> str:
    """Return a rate with as many digits as matter to a person."""
    if not math.isfinite(value):
        return "?"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"  # noqa: PLR2004  two digits
