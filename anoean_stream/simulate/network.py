"""The simulated site: its hosts, how busy each of them is, and when.

Addresses are private (10/8) inside and documentation ranges (RFC 5737) outside, so nothing that
is published can name a real machine. Attackers come from the same ranges as everybody else: an
address never tells them apart.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.intp]
Floats = NDArray[np.float64]

PoolName = Literal[
    "workstations", "servers", "web", "database", "resolver", "mail", "things", "monitor", "outside"
]

_SIZES: Final[dict[PoolName, tuple[tuple[str, ...], int]]] = {
    "workstations": (("10.20.1.", "10.20.2."), 60),
    "servers": (("10.20.10.",), 12),
    "web": (("10.20.11.",), 3),
    "database": (("10.20.12.",), 2),
    "resolver": (("10.20.13.",), 2),
    "mail": (("10.20.14.",), 2),
    "things": (("10.20.30.",), 24),
    "monitor": (("10.20.99.",), 2),
    "outside": (("192.0.2.", "198.51.100.", "203.0.113."), 600),
}
"""Address prefixes and number of hosts of each pool."""

_WORKING_HOURS: Final = 13.0
"""Hour around which people's machines are busiest."""

_NIGHT_SHARE: Final = 0.1
"""Share of workstations whose people work at night."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Hosts that play one part.

    Parameters
    ----------
    addresses : ndarray of object, (H,)
        IPv4 addresses as text.
    popularity : ndarray of float64, (H,)
        How often a host is drawn, any positive scale.
    volume : ndarray of float64, (H,)
        Factor on the bytes that a host moves; a habit of its own.
    peak_hour : ndarray of float64, (H,)
        Hour of day, 0 to 24, at which a host is busiest.
    daily : bool
        Whether the hosts follow a day curve at all.
    """

    addresses: NDArray[np.object_]
    popularity: Floats
    volume: Floats
    peak_hour: Floats
    daily: bool

    def draw(self, rng: np.random.Generator, n: int, *, hour: float) -> Ints:
        """Return `n` hosts by number, the busy ones of this hour more often."""
        weights = self.popularity
        if self.daily:
            weights = weights * np.exp(1.5 * np.cos((hour - self.peak_hour) * (2 * np.pi / 24)))
        steps = np.cumsum(weights)
        drawn: Ints = np.searchsorted(steps, rng.random(n) * steps[-1], side="right")
        return drawn


def make_network(rng: np.random.Generator) -> dict[PoolName, Pool]:
    """Draw the hosts of a site, with their habits."""
    return {name: _make_pool(rng, name, *size) for name, size in _SIZES.items()}


def day_factor(hour: float) -> float:
    """Return how much of people's traffic there is at an hour: 0.15 at night, 1 at midday."""
    return float(0.15 + 0.85 * np.exp(2.0 * (np.cos((hour - _WORKING_HOURS) * np.pi / 12) - 1)))


def _make_pool(
    rng: np.random.Generator, name: PoolName, prefixes: tuple[str, ...], n_hosts: int
) -> Pool:
    candidates = [f"{prefix}{last}" for prefix in prefixes for last in range(2, 250)]
    chosen = rng.permutation(len(candidates))[:n_hosts]
    addresses = np.empty(n_hosts, dtype=object)
    addresses[:] = [candidates[index] for index in chosen]
    people = name == "workstations"
    peak_hour = rng.normal(_WORKING_HOURS, 2.0, n_hosts) % 24
    at_night = rng.random(n_hosts) < _NIGHT_SHARE
    peak_hour[at_night] = 2.0
    return Pool(
        addresses=addresses,
        # Few popular, many rare: the exponent is the usual one of web servers.
        popularity=np.arange(1, n_hosts + 1, dtype=np.float64) ** (-0.9 if not people else -0.2),
        volume=rng.lognormal(0.0, 0.35, n_hosts),
        peak_hour=peak_hour,
        daily=people,
    )
