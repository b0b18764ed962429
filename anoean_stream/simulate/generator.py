"""Flows one after another, with their labels beside them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from anoean_stream.simulate.attacks import ATTACKS
from anoean_stream.simulate.network import Ints, day_factor, make_network
from anoean_stream.simulate.profile import Columns, Profile, draw
from anoean_stream.simulate.services import SERVICES

_BLOCK: Final = 2048
"""Flows drawn together: fewer cost more each, more hold the hour of day fixed for longer."""

_EPOCH: Final = datetime(2026, 3, 2, tzinfo=UTC)

_FIELDS: Final = (
    "flow_uid", "flow_start", "sensor", "src_ip", "src_port", "dst_ip", "dst_port", "proto",
    "service", "direction", "conn_state", "tcp_flags", "duration_s", "bytes_fwd", "bytes_bwd",
    "pkts_fwd", "pkts_bwd", "iat_mean_ms", "iat_std_ms", "ttl",
)  # fmt: skip
"""Fields of a record, in order."""

_COUNTERS: Final = ("bytes_fwd", "bytes_bwd", "pkts_fwd", "pkts_bwd")

_SENSORS: Final = ("edge-1", "core-1", "branch-1")
_OLD_SENSOR: Final = "branch-1"
"""Its exporter knows neither gaps between packets nor hop limits: the fields are absent."""

_UNINSPECTED: Final = 0.03
"""Share of flows whose service the exporter could not tell: null."""
_NO_TTL: Final = 0.02


@dataclass(frozen=True, slots=True)
class Flow:
    """One record, and the truth about it.

    Parameters
    ----------
    record : dict
        What an exporter would publish; holds no label.
    attack : str or None
        Kind of attack; None for normal traffic.
    """

    record: dict[str, Any]
    attack: str | None

    @property
    def label(self) -> int:
        """1 for an attack, 0 for normal traffic."""
        return int(self.attack is not None)

    def labelled(self) -> dict[str, Any]:
        """Return the record with ``label`` (0 or 1) and ``attack`` (kind or "normal") for training."""
        return {**self.record, "label": self.label, "attack": self.attack or "normal"}


class Simulator:
    """A seeded source of flows.

    Not thread-safe; one instance is one stream of time.

    Parameters
    ----------
    seed : int
        Seed of the traffic.
    attacks : sequence of str, optional
        Kinds of attack; by default all of `ATTACK_KINDS`.
    attack_share : float
        Share of flows that belong to an attack, [0, 1].
    start : datetime
        Aware time of the first flow.
    flows_per_s : float
        Simulated flows a second, > 0: how fast the simulated clock runs, not how fast flows come.
    site_seed : int
        Seed of the hosts and their habits. Two streams of one site share it.

    Raises
    ------
    ValueError
        For an unknown kind of attack, or a share or a rate out of bounds.
    """

    def __init__(
        self,
        *,
        seed: int,
        attacks: Sequence[str] | None = None,
        attack_share: float = 0.03,
        start: datetime = _EPOCH,
        flows_per_s: float = 20.0,
        site_seed: int = 0,
    ) -> None:
        kinds = tuple(ATTACKS) if attacks is None else tuple(attacks)
        unknown = [kind for kind in kinds if kind not in ATTACKS]
        if unknown:
            message = f"unknown attack {unknown[0]!r}; known are: {', '.join(ATTACKS)}"
            raise ValueError(message)
        if not 0 <= attack_share <= 1:
            message = f"attack_share is {attack_share}; expected 0 to 1"
            raise ValueError(message)
        if attack_share > 0 and not kinds:
            message = (
                f"attack_share is {attack_share} but no attack is named; name one or set it to 0"
            )
            raise ValueError(message)
        if flows_per_s <= 0:
            message = f"flows_per_s is {flows_per_s}; expected more than 0"
            raise ValueError(message)
        self._rng = np.random.default_rng(seed)
        self._network = make_network(np.random.default_rng(site_seed))
        self._kinds = kinds
        self._attack_share = attack_share
        self._flows_per_s = flows_per_s
        self._now_s = start.timestamp()
        self._n_made = 0
        self._salt = int(self._rng.integers(1 << 32))

    def flows(self, count: int | None = None) -> Iterator[Flow]:
        """Yield `count` flows in order of their start; without a count, for ever."""
        n_left = count
        while n_left is None or n_left > 0:
            block = self._block()
            if n_left is not None:
                block = block[:n_left]
                n_left -= len(block)
            yield from block

    def _block(self) -> list[Flow]:
        rng = self._rng
        hour = self._now_s / 3600 % 24
        n_attacks = int(rng.binomial(_BLOCK, self._attack_share))
        parts = [*self._normal(_BLOCK - n_attacks, hour), *self._attacks(n_attacks, hour)]
        columns = {name: np.concatenate([part[name] for part, _ in parts]) for name in parts[0][0]}
        truths = [attack for part, attack in parts for _ in range(len(part["src_ip"]))]
        start_s = self._now_s + np.cumsum(rng.exponential(1 / self._flows_per_s, _BLOCK))
        self._now_s = float(start_s[-1])
        order = rng.permutation(_BLOCK)
        shuffled = {name: column[order].tolist() for name, column in self._finish(columns).items()}
        shuffled["flow_start"] = _rfc3339(start_s)
        rows = zip(*(shuffled[name] for name in _FIELDS), strict=True)
        sensors = rng.choice(len(_SENSORS), size=_BLOCK, p=(0.6, 0.3, 0.1)).tolist()
        drops = (rng.random(_BLOCK) < _NO_TTL).tolist()
        flows = []
        for row, index, sensor, drop in zip(rows, order.tolist(), sensors, drops, strict=True):
            record = dict(zip(_FIELDS, row, strict=True))
            record["sensor"] = _SENSORS[sensor]
            _leave_out(record, no_ttl=drop)
            flows.append(Flow(record, truths[index]))
        return flows

    def _finish(self, columns: Columns) -> Columns:
        rng = self._rng
        for name in _COUNTERS:
            columns[name] = columns[name].astype(np.int64)
        service: NDArray[np.object_] = columns["service"].astype(object)
        service[rng.random(_BLOCK) < _UNINSPECTED] = None
        first = self._n_made
        self._n_made += _BLOCK
        uids = [f"F{self._salt:08x}{number:08x}" for number in range(first, first + _BLOCK)]
        return {
            **columns,
            "service": service,
            "flow_uid": np.array(uids, dtype=object),
            "sensor": np.zeros(_BLOCK, dtype=object),
        }

    def _normal(self, n: int, hour: float) -> list[tuple[Columns, str | None]]:
        people = day_factor(hour)
        profiles = [profile for service in SERVICES.values() for profile in service]
        weights = [p.share * (people if p.by_day else 0.6) for p in profiles]
        return [(columns, None) for columns in self._draw(profiles, weights, n, hour, narrow=False)]

    def _attacks(self, n: int, hour: float) -> list[tuple[Columns, str | None]]:
        if n == 0:
            return []
        n_of_kind = self._rng.multinomial(n, [1 / len(self._kinds)] * len(self._kinds))
        found: list[tuple[Columns, str | None]] = []
        for kind, n_flows in zip(self._kinds, n_of_kind.tolist(), strict=True):
            profiles = ATTACKS[kind]
            weights = [profile.share for profile in profiles]
            for columns in self._draw(profiles, weights, n_flows, hour, narrow=True):
                found.append((columns, kind))  # noqa: PERF401  # two lists in one expression
        return found

    def _draw(
        self,
        profiles: Sequence[Profile],
        weights: Sequence[float],
        n: int,
        hour: float,
        *,
        narrow: bool,
    ) -> Iterator[Columns]:
        total = sum(weights)
        counts = self._rng.multinomial(n, [weight / total for weight in weights])
        for profile, count in zip(profiles, counts.tolist(), strict=True):
            if count:
                cast = self._cast(profile) if narrow else None
                yield draw(self._rng, profile, count, network=self._network, hour=hour, cast=cast)

    def _cast(self, profile: Profile) -> tuple[Ints, Ints]:
        """Choose the few hosts of one campaign."""
        clients = len(self._network[profile.clients].addresses)
        servers = len(self._network[profile.servers].addresses)
        rng = self._rng
        return rng.integers(clients, size=3), rng.integers(servers, size=min(servers, 4))


def _leave_out(record: dict[str, Any], *, no_ttl: bool) -> None:
    """Remove what an exporter does not write."""
    if record["tcp_flags"] is None:
        del record["tcp_flags"]
    if record["sensor"] == _OLD_SENSOR:
        del record["iat_mean_ms"], record["iat_std_ms"], record["ttl"]
        return
    if record["pkts_fwd"] + record["pkts_bwd"] < 2:  # noqa: PLR2004  # one packet has no gap
        del record["iat_mean_ms"], record["iat_std_ms"]
    if no_ttl:
        record["ttl"] = None


def _rfc3339(seconds: NDArray[np.float64]) -> list[str]:
    stamps = (seconds * 1e6).astype("datetime64[us]")
    return [f"{text}Z" for text in np.datetime_as_string(stamps).tolist()]
