"""Workers that are killed, frozen, starved, restarted; and groups that grow and shrink."""

import resource
import signal
from typing import Any

from tests.chaos.scenarios import scenario
from tests.chaos.stage import PARTITIONS, Stage, Worker
from tests.chaos.traffic import flow
from tests.support.waiting import wait_until

RATE = 1500.0
"""Records a second: slow enough for two cores that run brokers and workers, fast enough that every
fault finds chunks in flight."""

KIP_848 = {"consumer__group_protocol": "consumer"}


def _stream(stage: Stage, *, full_s: float = 12, quick_s: float = 3) -> int:
    """Start traffic for a while; return how many records it will have."""
    n_records = int(RATE * stage.scaled(full_s, quick_s))
    stage.new_traffic().start(n_records, rate=RATE)
    return n_records


def _some(stage: Stage, n_records: int, low: float, high: float) -> int:
    """Return a random count between two shares of the records."""
    return int(n_records * stage.rng.uniform(low, high))


@scenario("worker-sigkill")
def worker_sigkill(stage: Stage) -> None:
    """SIGKILL a worker twice, at random moments, and start another."""
    _kill_twice(stage)
    stage.n_crashes = 2


@scenario("worker-sigkill-exactly-once")
def worker_sigkill_exactly_once(stage: Stage) -> None:
    """The same with `producer.delivery: exactly_once`: a read_committed reader sees no repeat."""
    _kill_twice(stage, producer__delivery="exactly_once", producer__transaction_timeout_s=10)


def _kill_twice(stage: Stage, **settings: Any) -> None:
    stage.set_up()
    # A fixed name lets a restarted worker end the transaction that its former self left open.
    worker = stage.start_worker(**settings, worker__id="w1")
    n_records = _stream(stage)
    for low, high in ((0.2, 0.4), (0.5, 0.8)):
        stage.wait_for_commits(_some(stage, n_records, low, high))
        worker.stop(signal.SIGKILL)
        worker = stage.start_worker(**settings, worker__id="w1")
    stage.settle()
    assert worker.stop() == 0


@scenario("worker-sigterm")
def worker_sigterm(stage: Stage) -> None:
    """SIGTERM a worker twice, at random moments: nothing is repeated."""
    stage.set_up()
    worker = stage.start_worker()
    n_records = _stream(stage)
    for low, high in ((0.2, 0.4), (0.5, 0.8)):
        stage.wait_for_commits(_some(stage, n_records, low, high))
        assert worker.stop() == 0, worker.tail()
        worker = stage.start_worker()
    stage.settle()
    assert worker.stop() == 0


@scenario("worker-sigstop")
def worker_sigstop(stage: Stage) -> None:
    """Freeze one of two workers for longer than its session, and let the zombie go on."""
    _zombie(stage)


@scenario("worker-sigstop-kip848")
def worker_sigstop_kip848(stage: Stage) -> None:
    """The same in a group of protocol `consumer`."""
    _zombie(stage, **KIP_848)


def _zombie(stage: Stage, **settings: Any) -> None:
    stage.set_up()
    frozen, other = stage.start_worker(**settings), stage.start_worker(**settings)
    wait_until_shared([frozen, other])
    n_records = _stream(stage, full_s=20, quick_s=8)
    stage.wait_for_commits(_some(stage, n_records, 0.1, 0.3))
    frozen.process.send_signal(signal.SIGSTOP)
    stage.n_crashes += 1
    wait_until(
        lambda: other.metrics().get("anoean_partitions_assigned") == PARTITIONS,
        what="the other worker has all partitions",
        within_s=30,
        hint=stage.explain,
    )
    frozen.process.send_signal(signal.SIGCONT)
    stage.settle()
    assert other.stop() == 0
    assert frozen.stop() == 0


def wait_until_shared(workers: list[Worker]) -> None:
    """Wait until each of the workers has its share of the partitions."""
    share = PARTITIONS // len(workers)
    wait_until(
        lambda: all(
            worker.metrics().get("anoean_partitions_assigned") == share for worker in workers
        ),
        what=f"{share} partitions for each of {len(workers)} workers",
        within_s=60,
        hint=lambda: "\n".join(worker.tail() for worker in workers),
    )


@scenario("worker-out-of-memory")
def worker_out_of_memory(stage: Stage) -> None:
    """Take further memory away from a worker (RLIMIT_AS), and start another when it died of that."""
    stage.set_up()
    # Large chunks of large records: what it has in reserve does not carry them.
    worker = stage.start_worker(consumer__chunk_linger_s=1)
    n_small, n_large = int(stage.scaled(6000, 1500)), 300
    large = range(n_small // 2, n_small // 2 + n_large)
    traffic = stage.new_traffic(
        record=lambda n: flow(n) + b" " * (900_000 if n in large else 0),
        options={"compression.type": "lz4"},
    )
    traffic.publish(n_small // 2)
    stage.wait_for_commits(n_small // 4)
    # Less than it has: whatever it asks for next is refused; the large records make it ask.
    resource.prlimit(worker.process.pid, resource.RLIMIT_AS, (1, 1))
    stage.n_crashes += 1
    traffic.publish(n_small - n_small // 2)
    wait_until(
        lambda: worker.process.poll() is not None,
        what="the worker's end",
        within_s=60,
        hint=worker.tail,
    )
    worker = stage.start_worker()
    stage.settle()
    assert worker.stop() == 0


@scenario("scale-1-4-2-1")
def scale(stage: Stage) -> None:
    """1 -> 4 -> 2 -> 1 workers while records stream: nothing is repeated."""
    _scale(stage)


@scenario("scale-1-4-2-1-kip848")
def scale_kip848(stage: Stage) -> None:
    """The same in a group of protocol `consumer`."""
    _scale(stage, **KIP_848)


def _scale(stage: Stage, **settings: Any) -> None:
    stage.set_up()
    workers = [stage.start_worker(**settings)]
    n_records = _stream(stage, full_s=30, quick_s=10)
    stage.wait_for_commits(_some(stage, n_records, 0.02, 0.05))
    workers += [stage.new_worker(**settings) for _ in range(3)]
    for worker in workers[1:]:
        worker.start()
    wait_until_shared(workers)
    for leaving in (workers[:2], workers[2:3]):
        for worker in leaving:
            assert worker.stop() == 0, worker.tail()
    wait_until_shared(workers[3:])
    stage.settle()
    assert workers[3].stop() == 0


@scenario("rolling-restart-static")
def rolling_restart(stage: Stage) -> None:
    """Restart two workers with fixed names in turn; their partitions wait for them."""
    _rolling_restart(stage)


@scenario("rolling-restart-static-kip848")
def rolling_restart_kip848(stage: Stage) -> None:
    """The same in a group of protocol `consumer`."""
    _rolling_restart(stage, **KIP_848)


def _rolling_restart(stage: Stage, **settings: Any) -> None:
    stage.set_up()
    workers = [
        stage.start_worker(
            **settings, consumer__group_instance_id=f"w{i}", consumer__session_timeout_s=30
        )
        for i in range(2)
    ]
    wait_until_shared(workers)
    n_records = _stream(stage, full_s=15, quick_s=5)
    for i, worker in enumerate(workers):
        stage.wait_for_commits(_some(stage, n_records, 0.1 + 0.3 * i, 0.3 + 0.3 * i))
        assert worker.stop() == 0, worker.tail()
        worker.start()
    stage.settle()
    for worker in workers:
        assert worker.stop() == 0, worker.tail()
