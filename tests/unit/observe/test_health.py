"""Live means that the loops turn; ready means that the worker does its job."""

from anoean_stream.observe.health import Health


def healthy() -> Health:
    health = Health(liveness_timeout_s=30, model="edge@1", n_partitions=4)
    health.polled(1000.0)
    return health


def test_worker_with_model_and_partitions_is_live_and_ready() -> None:
    assert healthy().live(now=1001.0) == []


def test_worker_that_waits_for_its_first_model_is_live_and_says_what_it_waits_for() -> None:
    health = Health(liveness_timeout_s=30)

    assert health.live(now=1e9) == []
    assert health.ready() == ["no model yet", "no partitions assigned yet"]


def test_spare_worker_without_partitions_is_ready() -> None:
    health = Health(liveness_timeout_s=30, model="edge@1", n_partitions=0)

    assert health.ready() == []


def test_poll_thread_that_stands_still_is_not_live() -> None:
    assert healthy().live(now=1029.0) == []
    assert healthy().live(now=1031.0) == ["poll thread stands still for 31 s"]


def test_chunk_that_is_scored_for_too_long_is_not_live_until_it_is_done() -> None:
    health = healthy()
    health.scoring(1000.0)
    health.polled(1039.0)

    assert health.live(now=1040.0) == ["scoring thread stands still for 40 s"]
    health.scoring(None)
    assert health.live(now=1040.0) == []


def test_crash_is_neither_live_nor_ready() -> None:
    health = healthy()
    health.crashed = "broker refused"

    assert health.live(now=1000.0) == ["crashed: broker refused"]
    assert "crashed: broker refused" in health.ready()
