"""The poll thread against a handle of our own making: back pressure, rebalances, commits."""

import queue
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from faust.types import TP

from anoean_stream.kafka import poller as poller_module
from anoean_stream.kafka.chunking import Fetched
from anoean_stream.kafka.poller import Poller
from anoean_stream.kafka.pollsides import OnCommit, PollerLimits
from anoean_stream.kafka.positions import Jump
from tests.support.waiting import wait_until

A, B = TP("flows", 0), TP("flows", 1)
WITHIN_S = 5.0


def message(tp: TP, offset: int) -> Message:
    return Message(
        topic=tp.topic, partition=tp.partition, offset=offset, value=b"%d" % offset,
        timestamp=(1, 1000 + offset),
    )  # fmt: skip


def parts(*tps: TP) -> list[TopicPartition]:
    return [TopicPartition(tp.topic, tp.partition) for tp in tps]


class FakeHandle:
    """A consumer that does what the test put in its script; callbacks run inside poll, as in truth."""

    def __init__(self) -> None:
        self.polls: queue.SimpleQueue[Callable[[], Message | None]] = queue.SimpleQueue()
        self.consumed: queue.SimpleQueue[Callable[[], list[Message]]] = queue.SimpleQueue()
        self.calls: list[tuple[Any, ...]] = []
        self.n_polls = 0
        self.look_ups_to_fail = 0
        self.metadata = b"CGMDv2:" + (7).to_bytes(4, sys.byteorder) + b"group\0member\0"
        self.on_commit: OnCommit | None = None
        self.on_assign: Any = None
        self.on_revoke: Any = None
        self.on_lost: Any = None

    def _note(self, name: str, partitions: list[TopicPartition], *more: object) -> None:
        self.calls.append((name, sorted(p.partition for p in partitions), *more))

    def subscribe(self, topics: list[str], *, on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self.on_assign, self.on_revoke, self.on_lost = on_assign, on_revoke, on_lost

    def poll(self, timeout: float) -> Message | None:
        self.n_polls += 1
        try:
            return self.polls.get(timeout=0.01)()
        except queue.Empty:
            return None

    def consume(self, num_messages: int, timeout: float) -> list[Message]:
        return self.consumed.get_nowait()() if not self.consumed.empty() else []

    def assign(self, partitions: list[TopicPartition]) -> None:
        self._note("assign", partitions, {p.partition: p.offset for p in partitions})

    def unassign(self) -> None:
        self.calls.append(("unassign",))

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        self._note("incremental_assign", partitions)

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        self._note("incremental_unassign", partitions)

    def pause(self, partitions: list[TopicPartition]) -> None:
        self._note("pause", partitions)

    def resume(self, partitions: list[TopicPartition]) -> None:
        self._note("resume", partitions)

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        self._note("commit", offsets, offsets[0].offset, asynchronous)
        if asynchronous:
            assert self.on_commit is not None
            report = self.on_commit
            self.polls.put(lambda: report(None, offsets))  # served by a later poll

    def get_watermark_offsets(
        self, partition: TopicPartition, timeout: float = -1, *, cached: bool = False
    ) -> tuple[int, int]:
        if not cached and self.look_ups_to_fail:
            self.look_ups_to_fail -= 1
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return (50, 100)

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return partitions

    def consumer_group_metadata(self) -> bytes:
        return self.metadata

    def close(self) -> None:
        self.calls.append(("close",))

    def said(self, name: str) -> list[tuple[Any, ...]]:
        return [call for call in list(self.calls) if call[0] == name]


class Owner:
    """Notes what it hears; drains when the test says so."""

    def __init__(self) -> None:
        self.batches: list[list[Fetched]] = []
        self.epochs: dict[TP, int] = {}
        self.lost_tps: list[frozenset[TP]] = []
        self.errors: list[tuple[int, str | None]] = []
        self.jumps: list[Jump] = []
        self.failures: list[BaseException] = []
        self.on_drain: Callable[[frozenset[TP], Callable[[], None]], None] = lambda _, done: done()

    def received(self, chunks: list[Fetched]) -> None:
        self.batches.append(chunks)

    def assigned(self, epochs: Mapping[TP, int]) -> None:
        self.epochs.update(epochs)

    def revoked(self, tps: frozenset[TP], done: Callable[[], None]) -> None:
        self.on_drain(tps, done)

    def lost(self, tps: frozenset[TP]) -> None:
        self.lost_tps.append(tps)

    def reported(self, error: KafkaError, topic: str | None) -> None:
        self.errors.append((error.code(), topic))

    def jumped(self, jump: Jump, epoch: int) -> None:
        assert epoch == self.epochs[jump.tp]
        self.jumps.append(jump)

    def polled(self, monotonic_s: float) -> None: ...

    def failed(self, error: BaseException) -> None:
        self.failures.append(error)


class Rig:
    """A poller, its handle and its owner, with partitions A and B assigned."""

    def __init__(self, *, incremental: bool = True, drain_timeout_s: float = WITHIN_S) -> None:
        self.handle, self.owner = FakeHandle(), Owner()
        limits = PollerLimits(
            chunk_max_records=10, chunk_linger_s=0.0, batches_in_flight=2,
            drain_timeout_s=drain_timeout_s,
        )  # fmt: skip
        self.poller = Poller(self._connect, self.owner, limits=limits, incremental=incremental)
        self.poller.start(["flows"])
        self.within(lambda: self.handle.on_assign(self.handle, parts(A, B)))
        wait_until(lambda: self.handle.said("resume"), within_s=WITHIN_S, what="resumed")

    def _connect(self, on_commit: OnCommit) -> FakeHandle:
        self.handle.on_commit = on_commit
        return self.handle

    def within(self, action: Callable[[], object]) -> None:
        """Run an action inside a poll, and wait until it is through."""
        ran = threading.Event()

        def act() -> None:
            action()
            ran.set()

        self.handle.polls.put(act)
        assert ran.wait(WITHIN_S)

    def feed(self, *messages: Message) -> None:
        """Let one poll and one consume return these."""
        self.handle.consumed.put(lambda: list(messages[1:]))
        self.handle.polls.put(lambda: messages[0])

    def batches(self, n: int) -> list[list[Fetched]]:
        return wait_until(
            lambda: self.owner.batches if len(self.owner.batches) >= n else [],
            within_s=WITHIN_S,
            what=f"{n} batches",
        )


@pytest.fixture
def make_rig() -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(**kwargs: Any) -> Rig:
        rigs.append(Rig(**kwargs))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.poller.halt()
        assert rig.poller.join(WITHIN_S)


def test_a_batch_becomes_one_chunk_for_each_partition(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()

    rig.feed(message(A, 5), message(B, 7), message(A, 9))

    [first, second] = rig.batches(1)[0]
    assert (first.tp, list(first.chunk.offsets), first.next_offset) == (A, [5, 9], 10)
    assert (second.tp, list(second.chunk.values), second.high_watermark) == (B, [b"7"], 100)
    assert list(first.chunk.timestamps_ms) == [1005, 1009]


def test_new_partitions_are_paused_inside_the_callback_and_resumed_after_it(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()

    assert [call[0] for call in rig.handle.calls[:3]] == ["incremental_assign", "pause", "resume"]


def test_nothing_is_consumed_without_a_place_and_polling_goes_on_paused(
    make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "STALL_S", 0.05)
    rig = make_rig()
    for offset in range(2):
        rig.feed(message(A, offset))

    rig.batches(2)
    wait_until(lambda: rig.handle.said("pause")[1:], within_s=WITHIN_S, what="paused")
    assert rig.handle.said("pause")[-1] == ("pause", [0, 1])
    n_polls = rig.handle.n_polls
    wait_until(lambda: rig.handle.n_polls > n_polls + 3, within_s=WITHIN_S, what="polling")

    rig.poller.release()
    rig.poller.release()
    wait_until(lambda: len(rig.handle.said("resume")) == 2, within_s=WITHIN_S, what="resumed")


def test_a_short_stall_waits_and_keeps_the_prefetch(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    for offset in range(3):
        rig.feed(message(A, offset))

    rig.batches(2)
    assert len(rig.owner.batches) == 2
    rig.poller.release()
    rig.batches(3)

    assert len(rig.handle.said("pause")) == 1  # only the one inside the assignment


def test_jobs_are_served_while_a_revocation_waits_for_the_drain(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()

    def drain(tps: frozenset[TP], done: Callable[[], None]) -> None:
        future = rig.poller.commit({A: 6}, rig.owner.epochs)
        future.add_done_callback(lambda _: done())

    rig.owner.on_drain = drain
    rig.within(lambda: rig.handle.on_revoke(rig.handle, parts(A)))

    names = [call[0] for call in rig.handle.calls]
    assert ("commit", [0], 6, False) in rig.handle.calls  # synchronous: poll() cannot be served
    assert names.index("commit") < names.index("incremental_unassign")


def test_records_of_a_partition_revoked_in_the_same_call_are_dropped_and_others_kept(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()

    def consume() -> list[Message]:
        rig.handle.on_revoke(rig.handle, parts(A))
        return [message(A, 6), message(B, 2)]

    rig.handle.consumed.put(consume)
    rig.handle.polls.put(lambda: message(A, 5))

    [only] = rig.batches(1)[0]
    assert (only.tp, list(only.chunk.offsets)) == (B, [2])


def test_records_from_before_a_reassignment_in_the_same_call_are_dropped(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(incremental=False)

    def consume() -> list[Message]:
        rig.handle.on_revoke(rig.handle, parts(A, B))
        rig.handle.on_assign(rig.handle, parts(A, B))
        return [message(A, 6)]

    rig.handle.consumed.put(consume)
    rig.handle.polls.put(lambda: message(A, 5))
    wait_until(lambda: len(rig.handle.said("resume")) == 2, within_s=WITHIN_S, what="resumed")
    rig.feed(message(A, 3))

    [only] = rig.batches(1)[0]
    assert list(only.chunk.offsets) == [3]


def test_lost_partitions_are_never_committed(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    epochs = dict(rig.owner.epochs)

    rig.within(lambda: rig.handle.on_lost(rig.handle, parts(A)))
    confirmed = rig.poller.commit({A: 6, B: 3}, epochs).result(WITHIN_S)

    assert rig.owner.lost_tps == [frozenset({A})]
    assert confirmed == {B: 3}
    assert rig.handle.said("commit") == [("commit", [1], 3, True)]


def test_an_acknowledgement_from_before_a_reassignment_is_not_committed(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()
    before = dict(rig.owner.epochs)

    rig.within(lambda: rig.handle.on_lost(rig.handle, parts(A)))
    rig.within(lambda: rig.handle.on_assign(rig.handle, parts(A)))

    assert rig.poller.commit({A: 6}, before).result(WITHIN_S) == {}
    assert not rig.handle.said("commit")


def test_a_refused_commit_fails_with_what_the_broker_said(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    refused = KafkaError(KafkaError.REBALANCE_IN_PROGRESS)
    on_commit = rig.handle.on_commit
    assert on_commit is not None
    rig.handle.on_commit = lambda _, offsets: on_commit(refused, offsets)

    with pytest.raises(KafkaException, match="REBALANCE_IN_PROGRESS"):
        rig.poller.commit({A: 6}, rig.owner.epochs).result(WITHIN_S)


def test_two_commits_of_the_same_offsets_are_both_answered(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    entered, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        go_on.wait(WITHIN_S)

    rig.handle.polls.put(hold)
    assert entered.wait(WITHIN_S)

    asked = [rig.poller.commit({A: 6}, rig.owner.epochs) for _ in range(2)]
    go_on.set()

    assert [future.result(WITHIN_S) for future in asked] == [{A: 6}, {A: 6}]


def test_a_commit_under_way_is_abandoned_when_its_partition_is_lost(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()
    rig.handle.on_commit = lambda _, offsets: None  # the report never comes

    asked = rig.poller.commit({A: 6}, rig.owner.epochs)
    wait_until(lambda: rig.handle.said("commit"), within_s=WITHIN_S, what="sent")
    rig.within(lambda: rig.handle.on_lost(rig.handle, parts(A)))

    with pytest.raises(RuntimeError, match="was lost"):
        asked.result(WITHIN_S)


def test_a_drain_that_takes_too_long_is_given_up_without_a_commit(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(drain_timeout_s=0.05)
    rig.owner.on_drain = lambda tps, done: None

    rig.within(lambda: rig.handle.on_revoke(rig.handle, parts(A)))

    assert rig.owner.lost_tps == [frozenset({A})]
    assert rig.handle.said("incremental_unassign") == [("incremental_unassign", [0])]
    assert not rig.handle.said("commit")


def test_a_halt_ends_even_while_a_revocation_waits(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    waiting = threading.Event()
    rig.owner.on_drain = lambda tps, done: waiting.set()
    rig.handle.polls.put(lambda: rig.handle.on_revoke(rig.handle, parts(A)))
    assert waiting.wait(WITHIN_S)

    rig.poller.halt()

    assert rig.poller.join(WITHIN_S)
    assert rig.handle.calls[-1] == ("close",)
    with pytest.raises(RuntimeError, match="has ended"):
        rig.poller.call(lambda _: None).result(WITHIN_S)


def test_an_error_in_place_of_a_record_is_reported_with_its_topic(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()
    error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)

    rig.handle.polls.put(lambda: Message(topic="flows", error=error))

    wait_until(lambda: rig.owner.errors, within_s=WITHIN_S, what="reported")
    assert rig.owner.errors == [(KafkaError.UNKNOWN_TOPIC_OR_PART, "flows")]
    assert not rig.owner.batches


def test_partitions_that_are_not_wanted_are_paused_and_polling_goes_on(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()

    rig.poller.want(frozenset({B}))
    wait_until(lambda: ("pause", [0]) in rig.handle.calls, within_s=WITHIN_S, what="A paused")
    rig.poller.want(None)
    wait_until(lambda: ("resume", [0]) in rig.handle.calls, within_s=WITHIN_S, what="A resumed")


def test_a_handle_that_cannot_be_made_is_a_failure_the_owner_hears_of() -> None:
    owner = Owner()

    def connect(_: OnCommit) -> FakeHandle:
        raise KafkaException(KafkaError(KafkaError._INVALID_ARG))

    limits = PollerLimits(10, 0.0, 2, 1.0)
    poller = Poller(connect, owner, limits=limits, incremental=True)
    poller.start(["flows"])

    assert poller.join(WITHIN_S)
    assert [type(error) for error in owner.failures] == [KafkaException]


def deleted(tp: TP, offset: int = -1001) -> Message:
    """What librdkafka gives in place of a record when the offset does not exist."""
    error = KafkaError(KafkaError._AUTO_OFFSET_RESET)
    return Message(topic=tp.topic, partition=tp.partition, offset=offset, error=error)


def test_a_partition_whose_offset_was_deleted_goes_on_at_the_beginning_and_tells_the_loss(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()

    rig.feed(deleted(A, 20))

    wait_until(lambda: rig.owner.jumps, within_s=WITHIN_S, what="the jump")
    assert rig.owner.jumps == [Jump(A, "retention", 20, 50)]
    assert rig.handle.said("incremental_unassign") == [("incremental_unassign", [0])]
    assert rig.handle.said("incremental_assign")[-1] == ("incremental_assign", [0])
    wait_until(
        lambda: rig.handle.calls[-1] == ("resume", [0]), within_s=WITHIN_S, what="it is read on"
    )
    assert not rig.owner.errors


def test_with_eager_groups_the_other_partitions_go_on_where_they_were(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(incremental=False)
    rig.feed(message(B, 7))
    rig.batches(1)

    rig.feed(deleted(A))

    wait_until(lambda: rig.owner.jumps, within_s=WITHIN_S, what="the jump")
    assert rig.owner.jumps == [Jump(A, "new_group", None, 50)]
    assert rig.handle.said("assign")[-1] == ("assign", [0, 1], {0: 50, 1: 8})


def test_a_question_that_no_broker_answers_is_asked_again(
    make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "RETRY_S", 0.05)
    rig = make_rig()
    rig.handle.look_ups_to_fail = 2

    rig.feed(deleted(A, 20))

    wait_until(lambda: rig.owner.jumps, within_s=WITHIN_S, what="the jump")
    assert [code for code, _ in rig.owner.errors] == [KafkaError._TIMED_OUT] * 2


def test_membership_names_the_partitions_of_now_and_is_none_without_a_generation(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()

    membership = rig.poller.membership().result(WITHIN_S)
    assert membership is not None
    assert membership.metadata == rig.handle.metadata
    assert membership.epochs == rig.owner.epochs

    # As librdkafka has it between a lost session and telling us of it.
    rig.handle.metadata = b"CGMDv2:" + b"\xff\xff\xff\xff" + b"group\0\0"
    assert rig.poller.membership().result(WITHIN_S) is None
