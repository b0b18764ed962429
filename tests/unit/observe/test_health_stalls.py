"""What counts as a stall, by a clock that is given: each fact, its limit, and what excuses it."""

import pytest

from anoean_stream.observe.health import Health


def worker() -> Health:
    """A busy worker at second 1000, of which every fact is fresh."""
    health = Health(
        liveness_timeout_s=30,
        stall_timeout_s=300,
        rebalance_timeout_s=600,
        model="edge@1",
        n_partitions=4,
    )
    health.turned(1000.0)
    health.polled(1000.0)
    health.brokers(1, 1000.0)
    health.waiting(0, 1000.0)
    return health


def turning(health: Health, now: float) -> list[str]:
    """Return what stands still beside the loops, which turn."""
    health.turned(now)
    health.polled(now)
    return health.live(now)


def test_event_loop_that_does_not_turn_is_a_stall() -> None:
    health = worker()
    health.polled(1031.0)

    assert health.live(1030.0) == []
    assert health.live(1031.0) == ["event loop stands still for 31 s"]


def test_records_that_wait_without_an_acknowledgement_are_a_stall() -> None:
    health = worker()
    health.waiting(500, 1010.0)

    assert turning(health, 1300.0) == []
    assert turning(health, 1301.0) == [
        "no chunk acknowledged while 500 records or chunks wait for 301 s"
    ]
    health.acknowledged(1301.0)
    assert turning(health, 1600.0) == []


def test_long_silence_before_the_first_record_does_not_count() -> None:
    health = worker()
    health.waiting(0, 9000.0)
    health.waiting(1, 9002.0)

    assert turning(health, 9010.0) == []


def test_delivery_without_an_answer_is_a_stall_and_a_slow_one_is_not() -> None:
    health = worker()
    health.sending(1000.0)
    health.sending(1200.0)  # tried again: the first one still has no answer

    assert turning(health, 1301.0) == ["no broker answers a delivery for 301 s"]
    health.answered(1301.0)
    assert turning(health, 1600.0) == []
    health.sent()
    assert turning(health, 9999.0) == []


def test_rebalance_that_does_not_end_is_a_stall() -> None:
    health = worker()
    health.joining(1000.0)
    health.joining(1500.0)

    assert turning(health, 1600.0) == []
    assert turning(health, 1601.0) == ["rebalancing for 601 s"]
    health.joined(1601.0)
    assert turning(health, 9999.0) == []


def test_spare_worker_without_partitions_is_live_and_ready_for_ever() -> None:
    health = worker()
    health.joining(1000.0)
    health.joined(1001.0)
    health.n_partitions = 0

    assert turning(health, 1e6) == []
    assert health.ready(1e6) == []


def test_missing_topic_is_waited_for() -> None:
    health = worker()
    health.joining(1000.0)
    health.topic_missing(1590.0)

    assert turning(health, 1700.0) == []


@pytest.mark.parametrize("fact", ["sending", "joining", "waiting"])
def test_outage_excuses_what_waits_for_brokers_and_the_time_begins_anew_after_it(
    fact: str,
) -> None:
    health = worker()
    if fact == "waiting":
        health.waiting(9, 1000.0)
    else:
        getattr(health, fact)(1000.0)
    health.brokers(0, 1010.0)

    assert turning(health, 9000.0) == []
    assert health.ready(9000.0) == ["no broker is connected for 7990 s"]
    health.brokers(2, 9000.0)
    assert turning(health, 9290.0) == []
    assert turning(health, 9700.0) != []


def test_outage_excuses_no_thread_of_ours() -> None:
    health = worker()
    health.brokers(0, 1000.0)
    health.scoring(1000.0)
    health.turned(1031.0)

    assert health.live(1031.0) == [
        "poll thread stands still for 31 s",
        "scoring thread stands still for 31 s",
    ]


def test_process_that_was_frozen_is_not_to_blame() -> None:
    health = worker()
    health.scoring(1000.0)
    health.sending(1000.0)

    health.resumed(5000.0)

    assert health.live(5029.0) == []
    assert len(health.live(5031.0)) == 3


def test_a_stall_says_by_how_much_it_is_over() -> None:
    health = worker()
    health.scoring(1000.0)
    health.turned(1100.0)
    health.polled(1100.0)

    (stall,) = health.stalls(1100.0)

    assert stall.over_s == 70
    assert stall.thread == "anoean-score"
