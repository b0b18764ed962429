"""Is the worker alive, and is it ready? Answers from facts, each with its reason.

*Live* means that restarting would not help: the event loop, the poll thread and the scoring thread
turn, the brokers answer what is sent, the group has assigned partitions, and chunks are
acknowledged while records wait. *Ready* means that the worker does its job: a model is loaded and
the group has assigned partitions to it (none, when there are more workers than partitions; that is
a ready spare).

A broker outage is no stall: no restart brings a broker back. While librdkafka is connected to no
broker at all, whatever waits for brokers is excused, and its time begins anew when one is back.
"""

import time
from dataclasses import dataclass
from typing import Final

LOOP_THREAD: Final = "MainThread"
POLL_THREAD: Final = "anoean-kafka-poll"
SCORE_THREAD: Final = "anoean-score"
"""Names (or how they begin) of the threads whose stack tells why they stand still."""


@dataclass(frozen=True, slots=True)
class Stall:
    """One thing that has not moved for too long.

    Parameters
    ----------
    problem : str
        What stands still, and for how long.
    thread : str
        Name, or beginning of the name, of the thread to look at.
    over_s : float
        Seconds beyond what is allowed.
    """

    problem: str
    thread: str
    over_s: float


@dataclass(slots=True)
class Health:
    """Facts that the rooms report and that the probes and the watchdog read.

    Each fact is one attribute, written whole by one thread, so no lock is needed. All times are
    monotonic seconds.

    Parameters
    ----------
    liveness_timeout_s : float
        How long a thread of ours may stand still, seconds.
    stall_timeout_s : float
        How long brokers may leave a delivery unanswered, or records may wait without a chunk being
        acknowledged, seconds.
    rebalance_timeout_s : float
        How long joining the group may take, seconds.
    """

    liveness_timeout_s: float
    stall_timeout_s: float = 300.0
    rebalance_timeout_s: float = 600.0
    model: str | None = None
    model_problem: str = "no model yet"
    n_partitions: int | None = None
    crashed: str | None = None
    _turned_at: float | None = None
    _polled_at: float | None = None
    _scoring_since: float | None = None
    _joining_since: float | None = None
    _sending_since: float | None = None
    _answered_at: float = -1.0
    _moved_at: float | None = None
    _n_waiting: int = 0
    _outage_since: float | None = None
    _outage_ended_at: float = -1.0
    _resumed_at: float = -1.0

    # ------------------------------------------------------------------ facts

    def turned(self, at: float) -> None:
        """Note a turn of the event loop."""
        self._turned_at = at

    def polled(self, at: float) -> None:
        """Note a turn of the poll thread."""
        self._polled_at = at

    def scoring(self, since: float | None) -> None:
        """Note that a chunk is being scored since then, or None: idle."""
        self._scoring_since = since

    def joining(self, since: float) -> None:
        """Note that the worker waits for the group to assign partitions; later calls change nothing."""
        if self._joining_since is None:
            self._joining_since = since

    def joined(self, at: float) -> None:
        """Note that the worker has its assignment, be it an empty one; a repeat changes nothing."""
        if self._joining_since is not None:
            self._joining_since = None
            self._moved_at = at

    def topic_missing(self, at: float) -> None:
        """Note that a topic does not exist: joining waits for a person, not for the group."""
        if self._joining_since is not None:
            self._joining_since = at

    def sending(self, since: float) -> None:
        """Note that records wait for the brokers' answer; later calls change nothing until `sent`."""
        if self._sending_since is None:
            self._sending_since = since

    def sent(self) -> None:
        """Note that no record waits for an answer."""
        self._sending_since = None

    def answered(self, at: float) -> None:
        """Note that a broker acknowledged or refused a record."""
        self._answered_at = at
        self._moved_at = at

    def acknowledged(self, at: float) -> None:
        """Note that a chunk is acknowledged."""
        self._moved_at = at

    def waiting(self, n_records: int, at: float) -> None:
        """Note how many records and chunks wait for this worker; the clock runs while there are any."""
        if not n_records:
            self._moved_at = at
        self._n_waiting = n_records

    def brokers(self, n_up: int, at: float) -> None:
        """Note to how many brokers there is a connection; 0 is an outage."""
        if n_up:
            if self._outage_since is not None:
                self._outage_ended_at = at
            self._outage_since = None
        elif self._outage_since is None:
            self._outage_since = at

    def resumed(self, at: float) -> None:
        """Note that the whole process stood still until now (SIGSTOP, a frozen machine)."""
        self._resumed_at = at

    # ------------------------------------------------------------------ answers

    def stalls(self, now: float) -> list[Stall]:
        """Return what has stood still for longer than it may.

        Parameters
        ----------
        now : float
            Monotonic seconds.
        """
        ours = self.liveness_timeout_s
        found = [
            self._stall("event loop stands still", LOOP_THREAD, self._turned_at, ours, now),
            self._stall("poll thread stands still", POLL_THREAD, self._polled_at, ours, now),
            self._stall(
                "scoring thread stands still", SCORE_THREAD, self._scoring_since, ours, now
            ),
        ]
        if self._outage_since is None:
            found += self._waits_for_brokers(now)
        return [stall for stall in found if stall is not None]

    def _waits_for_brokers(self, now: float) -> list[Stall | None]:
        def waits(problem: str, thread: str, since: float | None, limit_s: float) -> Stall | None:
            begin = None if since is None else max(since, self._outage_ended_at)
            return self._stall(problem, thread, begin, limit_s, now)

        sending, n = self._sending_since, self._n_waiting
        return [
            waits("rebalancing", POLL_THREAD, self._joining_since, self.rebalance_timeout_s),
            waits(
                "no broker answers a delivery",
                LOOP_THREAD,
                None if sending is None else max(sending, self._answered_at),
                self.stall_timeout_s,
            ),
            waits(
                f"no chunk acknowledged while {n} records or chunks wait",
                LOOP_THREAD,
                self._moved_at if n else None,
                self.stall_timeout_s,
            ),
        ]

    def _stall(
        self, problem: str, thread: str, since: float | None, limit_s: float, now: float
    ) -> Stall | None:
        if since is None:
            return None
        still_s = now - max(since, self._resumed_at)
        if still_s <= limit_s:
            return None
        return Stall(f"{problem} for {still_s:.0f} s", thread, still_s - limit_s)

    def live(self, now: float | None = None) -> list[str]:
        """Return what stands still; empty when the worker is live."""
        now = time.monotonic() if now is None else now
        crashed = [] if self.crashed is None else [f"crashed: {self.crashed}"]
        return [*crashed, *(stall.problem for stall in self.stalls(now))]

    def ready(self, now: float | None = None) -> list[str]:
        """Return what is missing; empty when the worker is ready."""
        now = time.monotonic() if now is None else now
        problems = self.live(now)
        if self.model is None:
            problems.append(self.model_problem)
        if self.n_partitions is None:
            problems.append("no partitions assigned yet")
        if self._outage_since is not None:
            problems.append(f"no broker is connected for {now - self._outage_since:.0f} s")
        return problems
