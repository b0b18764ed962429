# ruff: noqa: FBT001, FBT002, ARG002 - the signatures are Faust's
"""Faust's consumer on the poller: one message for each chunk, commits of what was acknowledged.

The Faust app is told once, at the start, that it is assigned nothing; from then on its flow never
stops. Partitions come and go below it, one by one: those that are revoked are drained and committed
while the others go on, whatever the group protocol. Faust's own way (stop the world, clear all
queues, begin again) is never taken.

Acknowledge with `stream.ack(event)` on a ``stream.noack().events()``; a stream that acknowledges by
itself bypasses `Consumer.ack`, and nothing would ever be committed.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, cast

from confluent_kafka import Consumer as LibrdkafkaConsumer
from confluent_kafka import KafkaError, KafkaException
from faust.types import TP, Message
from faust.types.transports import TPorTopicSet
from mode import Service, ServiceT
from mode.utils.futures import notify

from anoean_stream.errors import BrokerError
from anoean_stream.kafka.bridge import Bridge
from anoean_stream.kafka.chunking import Fetched
from anoean_stream.kafka.claims import Claim, Membership
from anoean_stream.kafka.config import consumer_config, is_incremental
from anoean_stream.kafka.faults import (
    News,
    client_logger,
    fatal_error,
    is_unknown_topic,
    missing_topic_sentence,
)
from anoean_stream.kafka.inflight import GENERATION, STALE, ChunkMessage, Place
from anoean_stream.kafka.ledger import OffsetLedger
from anoean_stream.kafka.poller import Poller
from anoean_stream.kafka.pollsides import ConsumerHandle, OnCommit, PollerLimits
from anoean_stream.kafka.positions import Jump
from anoean_stream.kafka.stateless import StatelessConsumer
from anoean_stream.kafka.wire import wire_of
from anoean_stream.records.chunk import Chunk

logger = logging.getLogger("anoean.kafka.consumer")

DRAIN_SHARE: Final = 0.6
COMMIT_SHARE: Final = 0.7
LEAVE_SHARE: Final = 0.8
"""Until which part of worker.shutdown_deadline_s agents may finish, the last commit may take, and the
group may be left; the rest is the producer's and the process's."""

DRAIN_OF_POLL_INTERVAL: Final = 0.5
"""Share of max_poll_interval_s that a revocation may wait for the agents; at 1 the group would have
thrown the worker out already."""


class Consumer(StatelessConsumer):
    """Reads chunks for Faust's agents. All methods run in the event loop and none blocks it."""

    logger = logger
    connect: ClassVar[Callable[..., ConsumerHandle]] = cast(
        "Callable[..., ConsumerHandle]", LibrdkafkaConsumer
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._wire = wire_of(self.app)
        self.commit_interval = self._wire.settings.consumer.commit_interval_s
        self._ledger: OffsetLedger[TP] = OffsetLedger()
        self._epochs: dict[TP, int] = {}
        self._handed_over: dict[TP, dict[int, ChunkMessage]] = {}
        self._inbox: deque[tuple[Fetched, Place] | tuple[Jump, int]] = deque()  # or jump, epoch
        self._inbox_filled = asyncio.Event()
        self._ack_seen = asyncio.Event()
        self._n_uncommitted = 0  # chunks acknowledged since the last commit was asked for
        self._commit_is_due = asyncio.Event()
        self._high_watermarks: dict[TP, int] = {}
        self._poller: Poller | None = None
        self._names: list[str] = []
        self._is_ready = False
        self._is_joining = False
        # Offsets are then committed with the alerts; a commit from here could set them back.
        self._is_transactional = self._wire.settings.producer.delivery == "exactly_once"
        self._news = News(logger)

    # ------------------------------------------------------------------ joining

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Let the app become ready at once, and join the group when the gate opens.

        Returns before either: Faust's assignment waits for its subscription, so a subscription that
        waited for the assignment would wait for ever.
        """
        names = sorted(topics)
        if not self._is_ready:
            self._is_ready = True
            self.add_future(self._become_ready())
        if names:
            self._names = names
            if self._poller is not None:
                await asyncio.wrap_future(self._poller.resubscribe(names))
            elif not self._is_joining:
                self._is_joining = True
                self.add_future(self._join())

    async def _join(self) -> None:
        if not self._wire.gate.is_set():
            logger.info("nothing is consumed yet: waiting for a model")
        await self._wire.gate.wait()
        self._poller = self._new_poller()
        self._tell_wanted()
        self._wire.listener.on_joining()
        self._poller.start(self._names)

    async def _become_ready(self) -> None:
        """Take Faust through its one assignment, an empty one: tasks, timers and flow start."""
        self.app.on_rebalance_start()
        self.app.consumer_generation_id = GENERATION
        await self.on_partitions_assigned(set(), GENERATION)

    def _new_poller(self) -> Poller:
        own = self._wire.settings.consumer
        limits = PollerLimits(
            chunk_max_records=own.chunk_max_records,
            chunk_linger_s=own.chunk_linger_s,
            batches_in_flight=own.chunks_in_flight,
            drain_timeout_s=own.max_poll_interval_s * DRAIN_OF_POLL_INTERVAL,
            from_end=own.auto_offset_reset == "latest",
        )
        bridge = Bridge(self, asyncio.get_running_loop())
        incremental = is_incremental(self._wire.settings)
        config = consumer_config(self._wire.settings)
        connect = type(self).connect

        def connected(on_commit: OnCommit) -> ConsumerHandle:
            callbacks = {
                "on_commit": on_commit,
                "error_cb": bridge.heard,
                "stats_cb": bridge.told,
            }
            return connect({**config, **callbacks}, logger=client_logger("consumer"))

        poller = Poller(connected, bridge, limits=limits, incremental=incremental)
        bridge.n_in_flight = lambda: poller.n_in_flight
        return poller

    # ------------------------------------------------------------------ handing over

    def on_received(self, batch: list[Fetched]) -> None:
        """Take a batch from the poll thread."""
        assert self._poller is not None
        place = Place(len(batch), self._poller.release)
        self._inbox.extend((fetched, place) for fetched in batch)
        self._inbox_filled.set()

    async def _drain_messages(self, fetcher: ServiceT) -> None:
        """Hand chunks to the agents, in order. Run by Faust's fetcher, cancelled by it."""
        should_stop = cast("Any", fetcher)._stopped.is_set  # noqa: SLF001 - as Faust's own drain does
        try:
            while not (self.should_stop or should_stop()):
                if not self.flow_active:
                    await self.can_resume_flow.wait()
                if not self._inbox:
                    self._inbox_filled.clear()
                    await self._inbox_filled.wait()
                elif self.flow_active:
                    await self._take(*self._inbox.popleft())
        except asyncio.CancelledError:
            if not self.transport.app.should_stop:
                raise

    async def _take(self, item: Fetched | Jump, ticket: Place | int) -> None:
        """Hand a chunk over; or note a jump, in its place between the chunks."""
        if isinstance(item, Jump):
            if self._epochs.get(item.tp) == ticket:
                self._ledger.skipped(item.tp, next_offset=item.offset)
            return
        assert isinstance(ticket, Place)
        await self._hand_over(item, ticket)

    async def _hand_over(self, fetched: Fetched, place: Place) -> None:
        tp = fetched.tp
        message = ChunkMessage(fetched, place)
        if self._epochs.get(tp) != fetched.epoch:
            message.leave()
            return
        self._ledger.delivered(tp, first=fetched.first, next_offset=fetched.next_offset)
        self._handed_over.setdefault(tp, {})[fetched.first] = message
        self._high_watermarks[tp] = fetched.high_watermark
        self._wire.listener.on_lag(tp, fetched.high_watermark, fetched.next_offset)
        await self.callback(message)

    def ack(self, message: Message) -> bool:
        """Note that everything made from a chunk is delivered; its offsets may be committed."""
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        if isinstance(message, ChunkMessage):
            fetched = message.fetched
            if self._epochs.get(fetched.tp) == fetched.epoch:
                self._ledger.acknowledge(fetched.tp, fetched.first)
                self._handed_over[fetched.tp].pop(fetched.first, None)
                self._note_uncommitted()
            message.leave()
        self._ack_seen.set()
        self._wire.listener.on_acknowledged(message.tp)
        notify(self._waiting_for_ack)
        return True

    def _note_uncommitted(self) -> None:
        # Commits by time alone would let a fast worker repeat a second's worth after a crash: with
        # as many chunks done as may be in flight, the next commit is due at once.
        self._n_uncommitted += 1
        if self._n_uncommitted >= self._wire.settings.consumer.chunks_in_flight:
            self._commit_is_due.set()

    @Service.task
    async def _commit_when_due(self) -> None:
        while not self.should_stop:
            await self._commit_is_due.wait()
            self._commit_is_due.clear()
            await self.commit()

    # ------------------------------------------------------------------ partitions come and go

    def on_assigned(self, epochs: Mapping[TP, int]) -> None:
        """Begin to read partitions."""
        self._epochs.update(epochs)
        self._renew_index()
        self.app.unassigned = not self._epochs
        self._tell_wanted()
        if epochs:
            logger.info("assigned %s; now reading %s", _named(epochs), _named(self._epochs))
        self._wire.listener.on_assigned(frozenset(epochs))

    async def on_revoked(self, tps: frozenset[TP], done: Callable[[], None]) -> None:
        """Let the agents finish what they have of these partitions, commit, and let go."""
        try:
            self._empty_inbox(tps)
            while self._is_in_work(tps):
                self._ack_seen.clear()
                await self._ack_seen.wait()
            offsets = self._ledger.committable(tps)
            if offsets:
                await self._commit(offsets)
            if tps & self._epochs.keys():
                self._forget(tps)
                logger.info("gave up %s; now reading %s", _named(tps), _named(self._epochs))
                self._wire.listener.on_revoked(tps)
        finally:
            done()

    def _is_in_work(self, tps: frozenset[TP]) -> bool:
        if self.transport.app.should_stop:
            # Faust has cleared the agents' queues: only what an agent has taken will be finished.
            return any(message.tp in tps for message in self._unacked_messages)
        return self._ledger.n_open(tps) > 0

    def on_lost(self, tps: frozenset[TP]) -> None:
        """Let go without a commit: another worker may read these partitions already."""
        self._empty_inbox(tps)
        for tp in tps:
            for message in self._handed_over.get(tp, {}).values():
                message.generation_id = STALE  # a stream that has not taken it yet skips it
                message.leave()
                self._unacked_messages.discard(message)  # nobody waits for it at a stop
        self._forget(tps)
        self._ack_seen.set()
        logger.warning(
            "lost %s without a commit; what was not committed is read again by its new owner",
            _named(tps),
        )
        self._wire.listener.on_lost(tps)

    def on_jumped(self, jump: Jump, epoch: int) -> None:
        """Tell that reading goes on elsewhere, and what was lost; the ledger hears it in order."""
        self._inbox.append((jump, epoch))
        self._inbox_filled.set()
        is_news = jump.why in {"retention", "truncated"}
        logger.log(logging.ERROR if is_news else logging.INFO, "%s", jump)
        self._wire.listener.on_jump(jump)

    def _empty_inbox(self, tps: frozenset[TP]) -> None:
        for item, place in self._inbox:
            if item.tp in tps and isinstance(place, Place):
                place.give_back()
        self._inbox = deque(item for item in self._inbox if item[0].tp not in tps)

    def _forget(self, tps: frozenset[TP]) -> None:
        self._ledger.forget(tps)
        for tp in tps:
            self._epochs.pop(tp, None)
            self._handed_over.pop(tp, None)
            self._high_watermarks.pop(tp, None)
        self._paused_partitions.difference_update(tps)
        self._renew_index()
        self.app.unassigned = not self._epochs

    def _renew_index(self) -> None:
        """Tell Faust's conductor which partitions there are, without stopping its flow."""
        conductor = cast("Any", self.app.topics)
        conductor._tp_index.clear()  # noqa: SLF001 - pinned by tests/agents/test_faust_contract.py
        conductor._update_tp_index(set(self._epochs))  # noqa: SLF001 - the same
        conductor._update_callback_map()  # noqa: SLF001 - the same

    def assignment(self) -> set[TP]:
        """Return the partitions that are read now."""
        return set(self._epochs)

    def highwater(self, tp: TP) -> int:
        """Return the end of a partition as of its last chunk; 0 when unknown."""
        return max(0, self._high_watermarks.get(tp, 0))

    # ------------------------------------------------------------------ flow

    def stop_flow(self) -> None:
        """Hand nothing over any more; the poll thread goes on polling."""
        super().stop_flow()
        self._tell_wanted()
        self._ack_seen.set()  # a revocation under way looks again at what it waits for

    def resume_flow(self) -> None:
        """Hand over again."""
        super().resume_flow()
        self._tell_wanted()

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        """Stop fetching some partitions."""
        self._paused_partitions.update(tps)
        self._tell_wanted()

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Fetch them again."""
        self._paused_partitions.difference_update(tps)
        self._tell_wanted()

    def _tell_wanted(self) -> None:
        if self._poller is None:
            return
        if not self.flow_active:
            self._poller.want(frozenset())
        elif self._paused_partitions:
            self._poller.want(frozenset(self._epochs.keys() - self._paused_partitions))
        else:
            self._poller.want(None)

    def on_buffer_full(self, tp: TP) -> None:
        """Do nothing: places in flight, not queue lengths, are what bounds us."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Do nothing, see `on_buffer_full`."""

    # ------------------------------------------------------------------ commits

    async def force_commit(
        self, topics: TPorTopicSet | None = None, start_new_transaction: bool = True
    ) -> bool:
        """Commit what the ledger allows; called through Faust's `commit`, one at a time."""
        state = self.app.sensors.on_commit_initiated(self)
        self._n_uncommitted = 0
        wanted = None
        if topics is not None:
            wanted = [tp for tp in self._epochs if tp in topics or tp.topic in topics]
        offsets = self._ledger.committable(wanted)
        did_commit = bool(offsets) and await self._commit(offsets)
        self.app.sensors.on_commit_completed(self, state)
        return did_commit

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit, and note what the broker confirmed; a failure is logged and comes again."""
        if self._poller is None or self._is_transactional:
            return False
        limit_s = self._wire.settings.broker.request_timeout_s
        if self.transport.app.should_stop:
            limit_s = min(limit_s, self._wire.stop_clock.left_s(COMMIT_SHARE))
        asked = asyncio.wrap_future(self._poller.commit(offsets, dict(self._epochs)))
        try:
            confirmed = await asyncio.wait_for(asked, limit_s)
        except KafkaException as err:
            error = cast("KafkaError", err.args[0])
            self.on_broker_error(error, None)
            self._on_commit_failed(offsets, f"{error.name()}: {error.str()}")
        except TimeoutError:
            self._on_commit_failed(offsets, f"no answer within {limit_s:.1f} s")
        except RuntimeError as err:
            self._on_commit_failed(offsets, str(err))
        else:
            self._ledger.committed(confirmed)
            if confirmed:
                self._wire.listener.on_commit(confirmed)
            return bool(confirmed)
        return False

    def _on_commit_failed(self, offsets: Mapping[TP, int], reason: str) -> None:
        self._news.tell(
            "commit", f"commit of {_named(offsets)} failed, it is tried again: {reason}"
        )
        self._wire.listener.on_commit_failed(offsets, reason)

    # ------------------------------------------------------------------ offsets of transactions

    def claim(self, chunks: Sequence[Chunk]) -> Claim:
        """Return which of these chunks, as they were handed over, a transaction may hold now."""
        ours: list[Chunk] = []
        n_claimed: Counter[TP] = Counter()
        offsets: dict[TP, int] = {}
        for chunk in chunks:
            tp, first = TP(chunk.topic, chunk.partition), chunk.offsets[0]
            message = self._handed_over.get(tp, {}).get(first)
            # The same offsets may be in work twice: once as ours, once from before a loss.
            if message is None or message.fetched.chunk is not chunk:
                continue
            if self._ledger.is_next(tp, first, after=n_claimed[tp]):
                ours.append(chunk)
                n_claimed[tp] += 1
                offsets[tp] = message.fetched.next_offset
        return Claim(tuple(ours), offsets, {tp: self._epochs[tp] for tp in offsets})

    async def membership(self) -> Membership | None:
        """Read what fences a transaction; None while this worker is no member of the group."""
        try:
            return (
                None
                if self._poller is None
                else await asyncio.wrap_future(self._poller.membership())
            )
        except RuntimeError:  # the poll thread has ended: the worker is leaving the group
            return None

    def committed_with(self, claim: Claim) -> None:
        """Note the offsets that a transaction committed; acknowledge the chunks after it."""
        own = {
            tp: at for tp, at in claim.offsets.items() if self._epochs.get(tp) == claim.epochs[tp]
        }
        self._ledger.committed(own)
        self._wire.listener.on_commit(claim.offsets)

    # ------------------------------------------------------------------ errors

    def on_broker_error(self, error: KafkaError, topic: str | None) -> None:
        """Crash the app on what waiting cannot repair; log the rest, seldom."""
        self._wire.listener.on_broker_error(error)
        fatal = fatal_error(error, self._wire.settings, topic=topic)
        if fatal is not None:
            self.end_with(fatal)
        elif is_unknown_topic(error):
            servers = self._wire.settings.broker.bootstrap_servers
            sentence = missing_topic_sentence(topic, servers)
            self._news.tell(f"missing {topic}", sentence, level=logging.ERROR)
        else:
            self._news.tell(error.name(), f"{error.name()}: {error.str()}")

    def end_with(self, error: BaseException) -> None:
        """Crash the app with this error."""
        if isinstance(error, KafkaException):
            known = cast("KafkaError", error.args[0])
            error = fatal_error(known, self._wire.settings) or BrokerError(
                f"librdkafka cannot work with this configuration: {known.str()}; check "
                "consumer.options and the broker section"
            )
        if not self.should_stop:
            self.add_future(self.crash(error))

    # ------------------------------------------------------------------ stopping

    async def wait_empty(self) -> None:
        """Wait for the chunks that agents work on, within the stop's deadline, then commit."""
        clock = self._wire.stop_clock
        clock.start()
        # After a crash nobody finishes anything any more.
        while (
            not self.should_stop
            and not self.transport.app.crashed
            and self._unacked_messages
            and clock.left_s(DRAIN_SHARE) > 0
        ):
            await self._wait_for_ack(timeout=1)
            self._clean_unacked_messages()
        if self._unacked_messages and not self.transport.app.crashed:
            logger.warning(
                "%d chunks were not finished in time; they are read again after the restart",
                len(self._unacked_messages),
            )
        try:
            # Not `commit`: that would wait for one under way, whose time limit is another.
            await self.force_commit()
        except Exception:
            # The stop goes on: what was not committed is only read again, but a group that is not
            # left waits for its session time-out.
            logger.exception("the last commit failed")

    async def on_stop(self) -> None:
        """Commit once more, then leave the group; within the stop's deadline."""
        await self.wait_empty()
        if self._poller is None:
            return
        self._poller.halt()
        limit_s = max(0.5, self._wire.stop_clock.left_s(LEAVE_SHARE))
        if not await asyncio.to_thread(self._poller.join, limit_s):
            logger.error(
                "could not leave the group within %.1f s (broker down?); the process ends anyway, and "
                "the group notices after its session timeout",
                limit_s,
            )


def _named(tps: Iterable[TP]) -> str:
    """Name partitions as people do: flows[0,1,2]."""
    topics: dict[str, list[int]] = {}
    for tp in tps:
        topics.setdefault(tp.topic, []).append(tp.partition)
    if not topics:
        return "nothing"
    return ", ".join(
        f"{topic}[{','.join(map(str, sorted(numbers)))}]"
        for topic, numbers in sorted(topics.items())
    )
