"""Input of every kind that Kafka allows, and topics that change below the worker."""

import time
from typing import Final

from confluent_kafka import TopicPartition
from confluent_kafka.cimpl import NewPartitions

from tests.chaos.observer import ends_of
from tests.chaos.permissions import denied_to_write
from tests.chaos.scenarios import scenario
from tests.chaos.stage import CHUNK, PARTITIONS, Stage, Worker
from tests.chaos.traffic import flow
from tests.support.waiting import wait_until

RATE: Final = 1500.0
FOLLOW_TOPICS: Final = {"consumer__options": '{"topic.metadata.refresh.interval.ms": "500"}'}
"""A worker looks for new partitions every 30 s; a test has less time."""


@scenario("input-transactional")
def transactional(stage: Stage) -> None:
    """Transactions, every third aborted: markers and aborted records leave gaps in the offsets."""
    stage.set_up()
    worker = stage.start_worker()
    traffic = stage.new_traffic(
        options={
            "transactional.id": stage.group,
            "transaction.timeout.ms": 300_000,  # librdkafka: not below that of a message
        }
    )
    producer = traffic.producer
    producer.init_transactions(30)
    for number in range(int(stage.scaled(60, 15))):
        producer.begin_transaction()
        first = traffic.n_sent
        traffic.publish(stage.rng.randrange(1, 120))
        if number % 3:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)
            traffic.forget_since(first)
    # A last committed one: an aborted tail has no records, and nobody would commit its markers.
    producer.begin_transaction()
    traffic.publish(PARTITIONS)
    producer.commit_transaction(30)
    stage.settle_by_outputs()
    assert worker.stop() == 0


@scenario("input-compacted")
def compacted(stage: Stage) -> None:
    """A compacted topic, cleaned while it is read: gaps, and offsets that are gone."""
    stage.set_up(
        flows={
            "cleanup.policy": "compact",
            "segment.ms": "200",
            "min.cleanable.dirty.ratio": "0.01",
            "max.compaction.lag.ms": "200",
        }
    )
    stage.some_expired = True
    traffic = stage.new_traffic()
    # Few keys, so that almost everything is cleaned away; but never the segment that is written to,
    # and a new one begins with a record that comes later.
    n_first = int(stage.scaled(8000, 3000))
    traffic.publish(n_first)

    def is_cleaned() -> bool:
        traffic.publish(PARTITIONS)
        return stage.records_kept() < traffic.n_sent // 2

    wait_until(is_cleaned, what="compaction", within_s=60)
    stage.is_compacted = True
    worker = stage.start_worker()
    traffic.start(int(RATE * stage.scaled(8, 2)), rate=RATE)
    stage.settle()
    assert worker.stop() == 0


@scenario("input-compressed")
def compressed(stage: Stage) -> None:
    """Batches compressed with gzip, snappy, lz4 and zstd in one topic."""
    stage.set_up()
    worker = stage.start_worker()
    traffic = stage.new_traffic()
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        traffic.reconnect({"compression.type": codec})
        traffic.publish(int(stage.scaled(3000, 600)))
    stage.settle()
    assert worker.stop() == 0


@scenario("input-sizes")
def sizes(stage: Stage) -> None:
    """Records of 0 bytes and of 1 MiB, good and not, and tombstones, among ordinary ones."""
    room = {"max.message.bytes": "4000000"}
    stage.set_up(flows=room, dead_letters=room)
    worker = stage.start_worker(
        scoring__max_record_bytes=1 << 20, producer__message_max_bytes=3_000_000
    )
    mib = 1 << 20

    def record(number: int) -> bytes | None:
        good = b'{"n": %d, "bytes_out": 10, "pad": "' % number
        kinds: dict[int, bytes | None] = {
            0: b"",
            1: None,
            2: good + b"x" * (mib - len(good) - 2) + b'"}',  # 1 MiB, and good
            3: b"x" * mib,  # 1 MiB of nothing
            4: good + b"x" * mib + b'"}',  # more than is allowed
        }
        return kinds[number % 20] if number % 20 in kinds else flow(number)

    traffic = stage.new_traffic(record=record)
    traffic.start(int(stage.scaled(1600, 300)), rate=stage.scaled(160, 100))
    stage.settle()
    assert worker.stop() == 0


@scenario("topic-recreated")
def recreated(stage: Stage) -> None:
    """The input is deleted and created again while a worker reads it: offsets begin anew."""
    stage.set_up()
    worker = stage.start_worker(**FOLLOW_TOPICS)
    traffic = stage.new_traffic()
    traffic.publish(int(stage.scaled(4000, 1000)))
    stage.settle()
    stage.admin.delete_topics([stage.flows])[stage.flows].result(20)
    wait_until(
        lambda: worker.metrics().get("anoean_partitions_assigned") == 0,
        what="the worker notices that the topic is gone",
        within_s=60,
        hint=worker.tail,
    )
    stage.create_topic(stage.flows)
    stage.watch.start_again()
    traffic.reconnect({})
    traffic.start(int(RATE * stage.scaled(6, 2)), rate=RATE)
    stage.settle()
    assert worker.stop() == 0


@scenario("retention-passes-the-commit")
def retention(stage: Stage) -> None:
    """Retention deletes records that were not read: each is counted, none jumped over in silence."""
    stage.set_up()
    traffic = stage.new_traffic()
    n_first = int(stage.scaled(4000, 1000))
    traffic.publish(n_first)
    worker = stage.start_worker()
    stage.settle()
    assert worker.stop() == 0
    traffic.publish(n_first)
    stage.some_expired = True
    _expire(stage, stage.rng.randrange(n_first // 8, n_first // 4))
    worker = stage.start_worker()
    stage.settle()
    stage.n_told_lost = _told_lost(worker)
    assert stage.n_told_lost > 0, worker.tail()
    assert "were deleted by the topic's retention" in worker.tail(), worker.tail()
    assert worker.stop() == 0


def _expire(stage: Stage, n_left: int) -> None:
    """Delete all but the last records of each partition, as retention does."""
    ends = ends_of(stage.brokers.bootstrap, stage.flows)
    upto = [TopicPartition(stage.flows, p, max(0, end - n_left)) for p, end in ends.items()]
    for future in stage.admin.delete_records(upto).values():
        future.result(20)


def _told_lost(worker: Worker) -> int:
    return int(
        sum(
            value
            for name, value in worker.metrics().items()
            if name.startswith("anoean_lost_records_total")
        )
    )


@scenario("partitions-added")
def partitions_added(stage: Stage) -> None:
    """Partitions are added while a worker runs; with `latest` too, nothing in them is skipped."""
    stage.set_up(partitions=2)
    worker = stage.start_worker(**FOLLOW_TOPICS, consumer__auto_offset_reset="latest")
    wait_until(
        lambda: worker.metrics().get("anoean_partitions_assigned") == 2,
        what="two partitions",
        within_s=30,
        hint=worker.tail,
    )
    stage.wait_for_positions(2)
    traffic = stage.new_traffic(partitions=2)
    traffic.publish(int(stage.scaled(2000, 500)))
    stage.settle()
    stage.admin.create_partitions([NewPartitions(stage.flows, 6)])[stage.flows].result(20)
    stage.wait_for_leaders(stage.flows)
    traffic.partitions = 6
    traffic.reconnect({})
    traffic.publish(int(stage.scaled(6000, 1500)))  # most of it before the worker has looked
    stage.settle()
    assert worker.stop() == 0


@scenario("alert-too-large")
def alert_too_large(stage: Stage) -> None:
    """The alerts topic takes no record of more than 3000 bytes: alerts come without their original.

    The worker learns the limit from refusals. An alert that is refused stands behind its neighbours
    of the same chunk; what is as large comes short at once.
    """
    stage.set_up(alerts={"max.message.bytes": "3000"})
    worker = stage.start_worker(producer__compression="none")
    pad = b'"pad": "' + b"x" * 4000 + b'", '
    traffic = stage.new_traffic(
        record=lambda n: flow(n).replace(b", ", b", " + pad, 1) if n % 7 == 0 else flow(n)
    )
    stage.late_allowed = 3 * CHUNK
    traffic.start(int(stage.scaled(4000, 1000)), rate=RATE / 2)
    stage.settle()
    assert worker.metrics().get("anoean_truncated_total", 0) > 0
    assert worker.stop() == 0


@scenario("dead-letter-topic-missing")
def no_dead_letter_topic(stage: Stage) -> None:
    """There is no dead-letter topic: the worker waits and says so; then somebody creates it."""
    stage.set_up(without=(stage.dead_letters,))
    worker = stage.start_worker(producer__options='{"topic.metadata.propagation.max.ms": "1000"}')
    traffic = stage.new_traffic()
    traffic.publish(int(stage.scaled(4000, 1000)))
    wait_until(
        lambda: stage.dead_letters in worker.tail(),
        what="a sentence about the missing topic",
        within_s=60,
        hint=worker.tail,
    )
    # Every tenth record is dead: no partition can be committed beyond its first few chunks.
    assert stage.committed() < traffic.n_sent
    began = time.monotonic()
    stage.create_topic(stage.dead_letters, config={"message.timestamp.type": "LogAppendTime"})
    stage.settle()
    assert time.monotonic() - began < 60
    assert worker.stop() == 0


@scenario("dead-letters-not-authorised", needs="guarded")
def dead_letters_not_authorised(stage: Stage) -> None:
    """Writing dead letters is forbidden below a worker: it ends with a sentence, nothing is passed."""
    stage.set_up()
    traffic = stage.new_traffic()
    worker = stage.start_worker()
    n_records = int(stage.scaled(8000, 2500))
    traffic.start(n_records, rate=RATE / 2)
    stage.wait_for_commits(n_records // 10)
    with denied_to_write(stage.admin, stage.dead_letters):
        wait_until(
            lambda: worker.process.poll() is not None,
            what="the worker's end",
            within_s=60,
            hint=worker.tail,
        )
        assert worker.process.returncode == 4, worker.tail()
        assert stage.dead_letters in worker.tail(), worker.tail()
        stage.n_crashes += 1
    worker = stage.start_worker()
    stage.settle()
    assert worker.stop() == 0
