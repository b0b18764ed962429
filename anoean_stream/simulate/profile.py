"""One way to talk: who with whom, how much, how long, how it ends; and how that looks as a flow.

Normal services and attacks are drawn by the same code from tables of the same form. What an
exporter counts (packets, bytes with headers, gaps between packets) follows from what the two ends
do, so an attack differs from its neighbours where it does in a real network, and nowhere else.

N is the number of flows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from anoean_stream.simulate.network import Floats, Ints, Pool, PoolName

Spread = tuple[float, float]
"""Median and sigma of a log-normal: 0.5 is narrow, 2 has a heavy tail."""

_TCP_HEADER_BYTES: Final = 52
_UDP_HEADER_BYTES: Final = 28
_SEGMENT_BYTES: Final = 1448

_FLAGS_OF_STATE: Final = {
    "SF": "...AP.SF",
    "S0": "......S.",
    "S1": "...AP.S.",
    "REJ": "...A.RS.",
    "RSTO": "...APRS.",
    "RSTR": "...APRSF",
    "SH": "......SF",
}
"""TCP flags seen in a connection that ended so, in nfdump's notation; states are Zeek's."""

STATES: Final = tuple(_FLAGS_OF_STATE)
_STATE_TEXTS: Final = np.array(STATES, dtype=object)
_FLAG_TEXTS: Final = np.array(list(_FLAGS_OF_STATE.values()), dtype=object)
_SF, _S0, _S1, _REJ, _RSTO, _RSTR, _SH = range(len(STATES))

_TCP_ENDS: Final = {
    "SF": 0.955, "S0": 0.012, "REJ": 0.004, "S1": 0.009, "RSTO": 0.012, "RSTR": 0.008,
}  # fmt: skip
_UDP_ENDS: Final = {"SF": 0.97, "S0": 0.03}

# When a SYN without answer is sent again, seconds after the first one.
_SYN_RETRY_S: Final = np.array([0.0, 1.0, 3.0, 7.0, 15.0])


@dataclass(frozen=True, slots=True)
class Profile:
    """One way to talk.

    Parameters
    ----------
    share : float
        Weight among the profiles of its table.
    clients, servers : PoolName
        Who opens the connection, and who is called.
    proto : {"tcp", "udp"}
        Transport.
    service : str
        What the exporter's payload inspection calls it.
    ports : mapping of int to float
        Destination ports with their weights.
    up, down : Spread
        Payload bytes of the client and of the server.
    seconds : Spread
        Duration of an established connection.
    turns : Spread
        Messages that each side sends; the fewest packets that carry the payload.
    rhythm : Spread
        Coefficient of variation of the gaps between packets: a clock is near 0, people above 1.
    ends : mapping of str to float, optional
        Connection states with their weights; by default what is usual for the transport.
    by_day : bool
        People cause it, so that it follows the day curve.
    retries : float
        Share of unanswered first packets that are sent again; 0 to 1.
    """

    share: float
    clients: PoolName
    servers: PoolName
    proto: str
    service: str
    ports: Mapping[int, float]
    up: Spread
    down: Spread
    seconds: Spread
    turns: Spread = (2.0, 0.5)
    rhythm: Spread = (1.8, 0.4)
    ends: Mapping[str, float] | None = None
    by_day: bool = False
    retries: float = 0.8

    @property
    def states(self) -> Mapping[str, float]:
        """Connection states with their weights: `ends`, or what is usual for the transport."""
        if self.ends is not None:
            return self.ends
        return _TCP_ENDS if self.proto == "tcp" else _UDP_ENDS


@dataclass(frozen=True, slots=True)
class _Talk:
    """What the two ends want to do, before packets are counted; each array has length N."""

    state_N: Ints
    up_N: Floats
    down_N: Floats
    seconds_N: Floats
    turns_N: Floats


Columns = dict[str, NDArray[np.generic] | NDArray[np.object_]]


def draw(
    rng: np.random.Generator,
    profile: Profile,
    n: int,
    *,
    network: Mapping[PoolName, Pool],
    hour: float,
    cast: tuple[Ints, Ints] | None = None,
) -> Columns:
    """Return `n` flows of one profile as columns of length N.

    Parameters
    ----------
    cast : (ndarray of intp, ndarray of intp), optional
        The few clients and servers of one campaign; by default the whole pools.
    """
    clients, servers = network[profile.clients], network[profile.servers]
    client_N = clients.draw(rng, n, hour=hour)
    server_N = servers.draw(rng, n, hour=hour)
    if cast is not None:
        client_N = cast[0][client_N % len(cast[0])]
        server_N = cast[1][server_N % len(cast[1])]
    state_N = _pick(rng, n, {STATES.index(state): w for state, w in profile.states.items()})
    talk = _Talk(
        state_N=state_N,
        up_N=_spread(rng, n, profile.up) * clients.volume[client_N],
        down_N=_spread(rng, n, profile.down) * clients.volume[client_N],
        seconds_N=_spread(rng, n, profile.seconds),
        turns_N=np.ceil(_spread(rng, n, profile.turns)),
    )
    columns = (_tcp if profile.proto == "tcp" else _udp)(rng, profile, talk)
    pkts_N = columns["pkts_fwd"] + columns["pkts_bwd"]
    gaps_N = np.maximum(pkts_N - 1, 1)
    iat_mean_N = 1000 * columns["duration_s"] / gaps_N
    texts: Columns = {
        "src_ip": clients.addresses[client_N],
        "dst_ip": servers.addresses[server_N],
        "src_port": rng.integers(32768, 61000, n),
        "dst_port": _pick(rng, n, profile.ports),
        "proto": np.full(n, profile.proto, dtype=object),
        "service": np.full(n, profile.service, dtype=object),
        "direction": np.full(n, _direction(profile), dtype=object),
        "conn_state": _STATE_TEXTS[state_N],
        "tcp_flags": _FLAG_TEXTS[state_N] if profile.proto == "tcp" else np.full(n, None),
        "iat_mean_ms": np.round(iat_mean_N, 3),
        "iat_std_ms": np.round(iat_mean_N * _spread(rng, n, profile.rhythm), 3),
        "ttl": _ttl(rng, n, outside=profile.clients == "outside"),
    }
    return {**texts, **columns}


def _tcp(rng: np.random.Generator, profile: Profile, talk: _Talk) -> dict[str, Floats]:
    state_N, up_N, down_N, turns_N = talk.state_N, talk.up_N, talk.down_N, talk.turns_N
    n = len(state_N)
    established_N = ~np.isin(state_N, (_S0, _REJ, _SH))
    broken_N = np.isin(state_N, (_RSTO, _RSTR, _S1))
    # A connection that breaks got part of its payload through.
    part_N = np.where(broken_N, rng.random(n), 1.0) * established_N
    up_N, down_N = np.rint(up_N * part_N), np.rint(down_N * part_N)
    turns_N = np.ceil(turns_N * part_N)
    data_fwd_N = np.maximum(np.ceil(up_N / _SEGMENT_BYTES), np.minimum(turns_N, up_N))
    data_bwd_N = np.maximum(np.ceil(down_N / _SEGMENT_BYTES), np.minimum(turns_N, down_N))
    acks_fwd_N = np.rint(data_bwd_N * rng.uniform(0.35, 0.6, n))
    acks_bwd_N = np.rint(data_fwd_N * rng.uniform(0.35, 0.6, n))
    lost_N = rng.binomial(np.minimum(data_fwd_N, 10_000).astype(np.intp), 0.004)
    tries_N = np.where(
        (state_N == _S0) & (rng.random(n) < profile.retries), rng.integers(2, 6, n), 1
    )
    pkts_fwd_N = np.where(established_N, 3 + data_fwd_N + acks_fwd_N + lost_N, tries_N)
    pkts_bwd_N = np.where(
        established_N, 2 + data_bwd_N + acks_bwd_N, np.where(state_N == _REJ, 1, 0)
    )
    pkts_fwd_N = np.where(state_N == _SH, 2, pkts_fwd_N)
    round_trip_N = rng.lognormal(np.log(0.012), 1.0, n)
    short_N = np.where(state_N == _S0, _SYN_RETRY_S[tries_N - 1], 0.0) + np.where(
        (state_N == _S0) & (tries_N == 1), 0.0, round_trip_N
    )
    duration_N = np.where(established_N, talk.seconds_N * np.maximum(part_N, 0.05), short_N)
    return {
        "duration_s": np.round(np.maximum(duration_N, established_N * round_trip_N * 2), 6),
        "bytes_fwd": up_N + _TCP_HEADER_BYTES * pkts_fwd_N,
        "bytes_bwd": down_N + _TCP_HEADER_BYTES * pkts_bwd_N,
        "pkts_fwd": pkts_fwd_N,
        "pkts_bwd": pkts_bwd_N,
    }


def _udp(rng: np.random.Generator, profile: Profile, talk: _Talk) -> dict[str, Floats]:
    state_N, up_N, down_N = talk.state_N, talk.up_N, talk.down_N
    n = len(state_N)
    answered_N = state_N == _SF
    again_N = np.where(~answered_N & (rng.random(n) < profile.retries), rng.integers(1, 4, n), 0)
    up_N = np.maximum(np.rint(up_N), 8)
    down_N = np.where(answered_N, np.maximum(np.rint(down_N), 8), 0)
    data_fwd_N = np.maximum(np.ceil(up_N / _SEGMENT_BYTES), talk.turns_N)
    data_bwd_N = np.maximum(np.ceil(down_N / _SEGMENT_BYTES), talk.turns_N) * answered_N
    round_trip_N = rng.lognormal(np.log(0.008), 1.0, n)
    waiting_N = np.where(again_N > 0, again_N * 5.0 + round_trip_N, 0.0)
    return {
        "duration_s": np.round(np.where(answered_N, talk.seconds_N + round_trip_N, waiting_N), 6),
        "bytes_fwd": up_N * (1 + again_N) + _UDP_HEADER_BYTES * (data_fwd_N + again_N),
        "bytes_bwd": down_N + _UDP_HEADER_BYTES * data_bwd_N,
        "pkts_fwd": data_fwd_N + again_N,
        "pkts_bwd": data_bwd_N,
    }


def _direction(profile: Profile) -> str:
    if profile.clients == "outside":
        return "inbound"
    return "outbound" if profile.servers == "outside" else "internal"


def _spread(rng: np.random.Generator, n: int, spread: Spread) -> Floats:
    median, sigma = spread
    return rng.lognormal(np.log(median), sigma, n)


def _pick(rng: np.random.Generator, n: int, weights: Mapping[int, float]) -> Ints:
    steps = np.cumsum(list(weights.values()))
    picks = np.searchsorted(steps, rng.random(n) * steps[-1], side="right")
    values: Ints = np.array(list(weights), dtype=np.intp)[picks]
    return values


def _ttl(rng: np.random.Generator, n: int, *, outside: bool) -> Ints:
    """Start values of the common systems, less the hops on the way."""
    start_N = np.array([64, 128, 255])[np.searchsorted([0.55, 0.97], rng.random(n))]
    hops_N = rng.integers(5, 22, n) if outside else rng.integers(0, 3, n)
    return (start_N - hops_N).astype(np.intp)
