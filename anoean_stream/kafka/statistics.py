"""What librdkafka reports every few seconds: connections, the group's state, records that wait.

The report is a JSON object of about 1 kB a partition; only the fields named here are decoded. Their
meaning is in librdkafka's STATISTICS.md.
"""

from typing import Final

import msgspec

_CONNECTED: Final = frozenset({"UP", "UPDATE"})
"""States of a connection over which requests are answered."""

_JOINED: Final = "steady"
"""State of a member that has its assignment, be it an empty one."""

_COORDINATED: Final = "up"
"""State of a member that talks to its coordinator."""

_NOT_OURS: Final = frozenset({"none", "stopping", "stopped"})
"""Fetch states of a partition that this consumer does not read (any more)."""


class _Broker(msgspec.Struct):
    state: str = ""


class _Partition(msgspec.Struct):
    fetch_state: str = "none"
    fetchq_cnt: int = 0
    next_offset: int = -1
    ls_offset: int = -1


class _Topic(msgspec.Struct):
    partitions: dict[str, _Partition] = {}


class _Group(msgspec.Struct, frozen=True):
    state: str = ""
    join_state: str = ""


class _Report(msgspec.Struct):
    brokers: dict[str, _Broker] = {}
    cgrp: _Group = _Group()
    topics: dict[str, _Topic] = {}


class Statistics(msgspec.Struct, frozen=True):
    """One report, boiled down.

    Parameters
    ----------
    n_connected : int
        Connections to brokers that work; 0 is an outage.
    is_joined : bool
        Whether the group's last rebalance is over for this member.
    n_unread : int
        Records of this consumer's partitions that the poll thread has not taken: prefetched ones,
        and what is between the position of the fetcher and the end as of the last fetch. Compaction
        and transactions leave gaps, so it is an upper limit; 0 is exact.
    """

    n_connected: int
    is_joined: bool
    n_unread: int


_decode = msgspec.json.Decoder(_Report).decode


def read_statistics(text: str, *, is_kip848: bool = False) -> Statistics:
    """Boil a report down.

    Parameters
    ----------
    text : str
        What librdkafka hands its statistics callback.
    is_kip848 : bool
        Whether the group protocol is ``consumer``: there a member that is assigned nothing hears
        nothing, so one that has found its coordinator counts as joined.

    Raises
    ------
    msgspec.DecodeError
        The text is no report of librdkafka.
    """
    report = _decode(text)
    ours = [
        partition
        for topic in report.topics.values()
        for partition in topic.partitions.values()
        if partition.fetch_state not in _NOT_OURS
    ]
    return Statistics(
        n_connected=sum(broker.state in _CONNECTED for broker in report.brokers.values()),
        is_joined=report.cgrp.join_state == _JOINED
        or (is_kip848 and report.cgrp.state == _COORDINATED),
        n_unread=sum(
            one.fetchq_cnt + max(0, one.ls_offset - one.next_offset) * (one.next_offset >= 0)
            for one in ours
        ),
    )
