"""The one thread that owns the consumer handle.

Any call on a librdkafka consumer from another thread blocks while a rebalance callback runs, and
the callback waits for the event loop to drain: two threads on one handle are a deadlock waiting for
its moment. So one thread polls, pauses, commits and runs the callbacks, and everything else asks it
through a queue that is served between polls *and* while a callback waits.

What the thread tells its owner (`PollerOwner`) is in order: chunks handed over before a revocation
is announced belong to before it.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Final, TypeVar

from confluent_kafka import OFFSET_STORED, KafkaError, KafkaException, Message, TopicPartition
from faust.types import TP

from anoean_stream.kafka.chunking import chunks_of, tp_of
from anoean_stream.kafka.claims import Membership, is_member
from anoean_stream.kafka.pollsides import Connect, ConsumerHandle, PollerLimits, PollerOwner
from anoean_stream.kafka.positions import RETRY_S, Jump, look_up

T = TypeVar("T")

POLL_S: Final = 0.1
"""Seconds one poll waits for a record: the longest a job waits while nothing arrives. Below 0.01 an
idle worker burns CPU, above 1 a commit and a stop become slow."""

STALL_S: Final = 1.0
"""Seconds without a free place before partitions are paused. Pausing drops what was prefetched, so
short stalls wait instead; but nobody polls meanwhile, so a rebalance waits as long."""

CALLBACK_WAIT_S: Final = 0.05
"""Seconds between looks at the halt flag while a callback waits for the drain; jobs wake it."""


class Poller:
    """Owns a consumer handle in a thread of its own. The public methods are safe from any thread.

    Parameters
    ----------
    connect : callable
        Makes the handle; called in the poll thread with the function for ``on_commit``.
    owner : PollerOwner
        Hears of everything.
    limits : PollerLimits
        Sizes and times.
    incremental : bool
        Whether the group protocol names only what changes (cooperative-sticky, KIP-848).
    """

    def __init__(
        self, connect: Connect, owner: PollerOwner, *, limits: PollerLimits, incremental: bool
    ) -> None:
        self._connect = connect
        self._owner = owner
        self._limits = limits
        self._incremental = incremental
        self._handle: ConsumerHandle | None = None
        self._thread = threading.Thread(target=self._run, name="anoean-kafka-poll", daemon=True)
        self._halted = threading.Event()
        self._ended = threading.Event()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # Places in flight are two counters with one writer each, so that no lock is needed.
        self._n_handed_over = 0  # poll thread
        self._n_released = 0  # owner's thread
        self._wanted: frozenset[TP] | None = None  # None: all; set by the owner
        self._topics: list[str] = []
        # From here on: poll thread only.
        self._epochs: dict[TP, int] = {}
        self._revision = 0  # counts rebalance callbacks
        self._running: frozenset[TP] = frozenset()  # partitions that are not paused
        self._in_callback = False
        self._stalled_since: float | None = None
        self._commits: dict[frozenset[tuple[TP, int]], list[Future[dict[TP, int]]]] = {}
        self._positions: dict[TP, int] = {}  # next offset to read, where it is known
        self._adrift: dict[TP, int | None] = {}  # partitions whose wanted offset does not exist
        self._look_up_at = 0.0

    # ------------------------------------------------------------------ for any thread

    def start(self, topics: Iterable[str]) -> None:
        """Join the group for these topics and begin to poll."""
        self._topics = list(topics)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def n_in_flight(self) -> int:
        """Batches handed over and not yet released."""
        return self._n_handed_over - self._n_released

    def resubscribe(self, topics: Iterable[str]) -> Future[None]:
        """Change the topics; a rebalance follows."""
        names = list(topics)
        return self.call(lambda _: self._subscribe(names))

    def call(self, job: Callable[[ConsumerHandle], T]) -> Future[T]:
        """Run a job on the handle, in the poll thread, also while a callback waits.

        Returns
        -------
        Future
            The job's result; fails with RuntimeError when the thread has ended.
        """
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                assert self._handle is not None
                future.set_result(job(self._handle))
            except Exception as error:  # noqa: BLE001 - the asker gets whatever it is
                future.set_exception(error)

        if self._ended.is_set():
            future.set_exception(RuntimeError("the poll thread has ended"))
        else:
            self._jobs.put(run)
        return future

    def commit(self, offsets: Mapping[TP, int], epochs: Mapping[TP, int]) -> Future[dict[TP, int]]:
        """Commit next offsets of partitions that are still ours when the job runs.

        Parameters
        ----------
        offsets : mapping of TP to int
            Next offset to read, by partition.
        epochs : mapping of TP to int
            The epoch in which each was acknowledged; a partition that was given up since, or lost,
            is left out.

        Returns
        -------
        Future of dict
            What the broker confirmed. Fails with KafkaException.
        """
        done: Future[dict[TP, int]] = Future()
        done.set_running_or_notify_cancel()  # an asker that stops waiting must not cancel it
        wish = dict(offsets)

        def job(handle: ConsumerHandle) -> None:
            own = {tp: at for tp, at in wish.items() if self._epochs.get(tp) == epochs.get(tp)}
            if not own:
                done.set_result({})
                return
            partitions = [TopicPartition(tp.topic, tp.partition, at) for tp, at in own.items()]
            if self._in_callback:
                # Its result is needed before the callback returns, and only poll() serves on_commit.
                handle.commit(offsets=partitions, asynchronous=False)
                done.set_result(own)
            else:
                # The report names offsets, not the request: the first one answers all who asked.
                handle.commit(offsets=partitions, asynchronous=True)
                self._commits.setdefault(frozenset(own.items()), []).append(done)

        def forward(ran: Future[None]) -> None:
            error = None if ran.cancelled() else ran.exception()
            if error is not None and not done.done():
                done.set_exception(error)

        self.call(job).add_done_callback(forward)
        return done

    def membership(self) -> Future[Membership | None]:
        """Read what proves to a transaction that the partitions of now are ours; None: we are no member."""

        def job(handle: ConsumerHandle) -> Membership | None:
            metadata = handle.consumer_group_metadata()
            return Membership(metadata, dict(self._epochs)) if is_member(metadata) else None

        return self.call(job)

    def release(self) -> None:
        """Give one batch's place back. Call from one thread only."""
        self._n_released += 1
        self._jobs.put(None)

    def want(self, tps: frozenset[TP] | None) -> None:
        """Say which partitions to read, None for all; the others are paused and polling goes on."""
        self._wanted = tps

    def halt(self) -> None:
        """Ask the thread to leave the group and end; `join` waits for it. Commit before."""
        self._halted.set()
        self._jobs.put(None)

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread. Blocks; False when it is stuck in a call (the broker is down)."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # ------------------------------------------------------------------ poll thread

    def _run(self) -> None:
        try:
            self._handle = self._connect(self._on_commit)
            self._subscribe(self._topics)
            while not self._halted.is_set():
                self._step()
        except BaseException as error:  # noqa: BLE001 - a dead poll thread must never be silent
            if not self._halted.is_set():
                self._owner.failed(error)
        finally:
            self._end()

    def _end(self) -> None:
        self._halted.set()
        self._ended.set()
        self._serve_jobs()
        self._abandon_commits(list(self._commits), "the poll thread has ended")
        if self._handle is not None:
            self._handle.close()  # leaves the group; runs on_revoke, which the halt flag cuts short

    def _subscribe(self, topics: list[str]) -> None:
        assert self._handle is not None
        self._handle.subscribe(
            topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def _serve_jobs(self, wait_s: float = 0.0) -> None:
        """Run what is queued; wait for the first so long."""
        try:
            job = self._jobs.get(timeout=wait_s) if wait_s > 0 else self._jobs.get_nowait()
            while True:
                if job is not None:
                    job()
                job = self._jobs.get_nowait()
        except queue.Empty:
            pass

    def _has_room(self) -> bool:
        return self.n_in_flight < self._limits.batches_in_flight

    def _step(self) -> None:
        """Serve the jobs, then fetch one batch, or wait for room."""
        now = time.monotonic()
        self._owner.polled(now)
        self._serve_jobs()
        room = self._has_room()
        if room:
            self._stalled_since = None
        elif self._epochs:
            self._stalled_since = now if self._stalled_since is None else self._stalled_since
            if now - self._stalled_since < STALL_S:
                self._serve_jobs(CALLBACK_WAIT_S)
                return
        if self._adrift and now >= self._look_up_at:
            self._place_adrift()
        self._apply_pauses(room=room)
        self._fetch()

    def _apply_pauses(self, *, room: bool) -> None:
        """Make librdkafka's pauses equal to what is wanted; both calls are rare."""
        assert self._handle is not None
        owned = frozenset(self._epochs)
        wanted = (
            frozenset() if not room else owned if self._wanted is None else owned & self._wanted
        )
        if wanted == self._running:
            return
        stop, go = self._running - wanted, wanted - self._running
        if stop:
            self._handle.pause([TopicPartition(*tp) for tp in stop])
        if go:
            self._handle.resume([TopicPartition(*tp) for tp in go])
        self._running = wanted

    def _fetch(self) -> None:
        assert self._handle is not None
        revision = self._revision
        # poll() returns with the first record; consume() alone would wait for all N or the timeout.
        first = self._handle.poll(POLL_S)
        if first is None:
            return
        messages = [first]
        if self._limits.chunk_max_records > 1 and first.error() is None:
            messages += self._handle.consume(
                self._limits.chunk_max_records - 1, self._limits.chunk_linger_s
            )
        if any(map(Message.error, messages)):
            messages = self._take_errors(messages)
        if revision != self._revision:
            messages = self._still_ours(messages, revision)
        if messages:
            chunks = chunks_of(messages, self._epochs, self._high_watermark)
            self._positions.update((fetched.tp, fetched.next_offset) for fetched in chunks)
            self._n_handed_over += 1
            self._owner.received(chunks)

    def _take_errors(self, messages: list[Message]) -> list[Message]:
        good = []
        for message in messages:
            error = message.error()
            if error is None:
                good.append(message)
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - its public name
                self._adrift[tp_of(message)] = message.offset()
            else:
                self._owner.reported(error, message.topic())
        return good

    # ------------------------------------------------------------------ offsets that do not exist

    def _place_adrift(self) -> None:
        """Find where partitions go on whose next offset the brokers do not have, and go there."""
        assert self._handle is not None
        for tp, wanted in list(self._adrift.items()):
            if tp not in self._epochs:
                del self._adrift[tp]
                continue
            try:
                found = look_up(self._handle, tp, wanted, from_end=self._limits.from_end)
                self._reassign(self._handle, found)
            except KafkaException as error:
                self._look_up_at = time.monotonic() + RETRY_S
                self._owner.reported(error.args[0], tp.topic)
                return
            del self._adrift[tp]
            self._owner.jumped(found, self._epochs[tp])

    def _reassign(self, handle: ConsumerHandle, found: Jump) -> None:
        """Read one partition from another offset: seek() does not work on one that stands."""
        tp = found.tp
        self._positions[tp] = found.offset
        if self._incremental:
            handle.incremental_unassign([TopicPartition(*tp)])
            handle.incremental_assign([TopicPartition(*tp, found.offset)])
            self._hold(handle, [tp])
        else:
            # All or nothing here; the others go on where they are, by what was handed over.
            at = self._positions
            everything = [TopicPartition(*own, at.get(own, OFFSET_STORED)) for own in self._epochs]
            handle.assign(everything)
            self._hold(handle, list(self._epochs))

    def _hold(self, handle: ConsumerHandle, tps: list[TP]) -> None:
        """Pause partitions that were assigned just now; the next step resumes what is wanted."""
        handle.pause([TopicPartition(*tp) for tp in tps])
        self._running -= frozenset(tps)

    def _still_ours(self, messages: list[Message], revision: int) -> list[Message]:
        """Drop records of partitions that changed hands inside the very call that returned them.

        A partition assigned anew is paused at once, so records of it here are from before, and the
        new owner (perhaps we) reads them again from the committed offset.
        """
        return [
            message
            for message in messages
            if self._epochs.get(tp_of(message), revision + 1) <= revision
        ]

    def _high_watermark(self, tp: TP) -> int:
        assert self._handle is not None
        marks = self._handle.get_watermark_offsets(TopicPartition(*tp), cached=True)
        return -1 if marks is None else marks[1]

    # ------------------------------------------------------------------ callbacks (poll thread)

    def _on_assign(self, handle: ConsumerHandle, partitions: list[TopicPartition]) -> None:
        self._revision += 1
        new = {TP(p.topic, p.partition): self._revision for p in partitions}
        if self._incremental:
            handle.incremental_assign(partitions)
            self._epochs.update(new)
        else:
            handle.assign(partitions)
            self._epochs = new
            self._running = frozenset()
        if partitions:
            handle.pause(partitions)  # see _still_ours; the next step resumes them
        if not self._halted.is_set():
            self._owner.assigned(new)

    def _on_revoke(self, handle: ConsumerHandle, partitions: list[TopicPartition]) -> None:
        self._revision += 1
        gone = frozenset(TP(p.topic, p.partition) for p in partitions)
        self._in_callback = True
        try:
            if gone and not self._halted.is_set():
                self._await_drain(gone)
        finally:
            self._in_callback = False
            self._give_up(handle, partitions, gone)

    def _await_drain(self, gone: frozenset[TP]) -> None:
        drained = threading.Event()

        def done() -> None:
            drained.set()
            self._jobs.put(None)

        self._owner.revoked(gone, done)
        deadline = time.monotonic() + self._limits.drain_timeout_s
        while not drained.is_set() and not self._halted.is_set() and time.monotonic() < deadline:
            self._serve_jobs(CALLBACK_WAIT_S)
            self._owner.polled(time.monotonic())
        if not drained.is_set():
            self._owner.lost(gone)

    def _on_lost(self, handle: ConsumerHandle, partitions: list[TopicPartition]) -> None:
        # A commit here would hang, and would be a zombie's: forget first, so that queued ones find
        # nothing that is ours.
        self._revision += 1
        gone = frozenset(TP(p.topic, p.partition) for p in partitions)
        # librdkafka may keep a commit back until it is in a group again: nobody shall wait for that.
        keys = [key for key in self._commits if any(tp in gone for tp, _ in key)]
        self._abandon_commits(keys, "a partition in it was lost")
        if not self._halted.is_set():
            self._owner.lost(gone)
        self._give_up(handle, partitions, gone)

    def _give_up(
        self, handle: ConsumerHandle, partitions: list[TopicPartition], gone: frozenset[TP]
    ) -> None:
        if self._incremental:
            handle.incremental_unassign(partitions)
            for tp in gone:
                self._epochs.pop(tp, None)
                self._positions.pop(tp, None)
        else:
            handle.unassign()
            self._epochs = {}
            self._positions = {}
        self._running &= frozenset(self._epochs)

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        offsets = {TP(p.topic, p.partition): p.offset for p in partitions}
        refused = error or next((p.error for p in partitions if p.error is not None), None)
        for waiting in self._commits.pop(frozenset(offsets.items()), []):
            if refused is not None:
                waiting.set_exception(KafkaException(refused))
            else:
                waiting.set_result(offsets)

    def _abandon_commits(self, keys: list[frozenset[tuple[TP, int]]], reason: str) -> None:
        for key in keys:
            for waiting in self._commits.pop(key):
                waiting.set_exception(RuntimeError(reason))
