"""What is read of librdkafka's report; the shape was taken from librdkafka 2.16 on Kafka 4.3."""

import json
from typing import Any

import pytest

from anoean_stream.kafka.statistics import read_statistics


def report(**partitions: dict[str, Any]) -> str:
    return json.dumps(
        {
            "name": "rdkafka#consumer-1",
            "brokers": {
                "a:9092/1": {"name": "a:9092/1", "state": "UP", "rtt": {"min": 1}},
                "b:9092/2": {"name": "b:9092/2", "state": "DOWN"},
                "GroupCoordinator": {"name": "GroupCoordinator", "state": "INIT"},
            },
            "topics": {"flows": {"topic": "flows", "partitions": partitions}},
            "cgrp": {"state": "up", "join_state": "steady", "rebalance_cnt": 2},
        }
    )


def test_connections_and_the_group_are_read() -> None:
    found = read_statistics(report())

    assert (found.n_connected, found.is_joined, found.n_unread) == (1, True, 0)


def test_prefetched_records_and_those_not_fetched_are_unread() -> None:
    mine = {"fetch_state": "active", "fetchq_cnt": 7, "next_offset": 90, "ls_offset": 100}
    unknown = {"fetch_state": "active", "fetchq_cnt": 0, "next_offset": 0, "ls_offset": -1001}
    given_up = {"fetch_state": "stopped", "fetchq_cnt": 1, "next_offset": 0, "ls_offset": 50}

    found = read_statistics(report(**{"0": mine, "1": unknown, "2": given_up, "-1": {}}))

    assert found.n_unread == 17


@pytest.mark.parametrize(
    ("state", "join_state", "is_kip848", "is_joined"),
    [
        ("up", "wait-join", False, False),
        ("up", "init", False, False),
        ("up", "init", True, True),  # a spare of a KIP-848 group hears nothing
        ("wait-coord", "init", True, False),
    ],
)
def test_joined_means_that_the_rebalance_is_over(
    state: str, join_state: str, *, is_kip848: bool, is_joined: bool
) -> None:
    text = json.dumps({"cgrp": {"state": state, "join_state": join_state}})

    assert read_statistics(text, is_kip848=is_kip848).is_joined is is_joined
