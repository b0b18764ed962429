"""What the Faust app gives its transport: settings, the gate, a listener and the stop's clock.

Faust creates the transport itself and hands it only the app, so the app carries this object as
``app.wire``. The transport reads nothing from the environment and nothing from Faust's settings.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from confluent_kafka import KafkaError
from faust.types import TP

from anoean_stream.kafka.positions import Jump
from anoean_stream.settings import Settings

FLUSH_SHARE: Final = 0.85
"""Until which part of worker.shutdown_deadline_s deliveries may be waited for."""


class Gate(Protocol):
    """What `asyncio.Event` is; set when a model is loaded and records may be read."""

    def is_set(self) -> bool:
        """Tell whether the gate is open."""
        ...

    async def wait(self) -> Literal[True]:
        """Return when the gate is open."""
        ...


class Gates:
    """A gate that is open when all of several are.

    Parameters
    ----------
    *gates : Gate
        In the order in which they are likely to open.
    """

    def __init__(self, *gates: Gate) -> None:
        self._gates = gates

    def is_set(self) -> bool:
        """Tell whether all are open."""
        return all(gate.is_set() for gate in self._gates)

    async def wait(self) -> Literal[True]:
        """Return when all are open; none is expected to close again."""
        for gate in self._gates:
            await gate.wait()
        return True


class WireListener:
    """What health and metrics may hear of the transport. Override what is of interest.

    All methods are called in the event loop, but those that name another thread. None may block or
    raise. The cost is one call for a chunk, not for a record, except for `on_answer`.
    """

    def on_assigned(self, tps: frozenset[TP]) -> None:
        """Hear of partitions this worker now reads, beside those it had."""

    def on_revoked(self, tps: frozenset[TP]) -> None:
        """Hear of partitions given up in order: drained, and committed if that succeeded."""

    def on_lost(self, tps: frozenset[TP]) -> None:
        """Hear of partitions taken away: another worker may read the same records again."""

    def on_poll(self, monotonic_s: float) -> None:
        """Hear that the poll thread turns, a few times a second. Called in the poll thread."""

    def on_joining(self) -> None:
        """Hear that the worker begins to join its group."""

    def on_acknowledged(self, tp: TP) -> None:
        """Hear that everything made from a chunk of this partition is delivered."""

    def on_sending(self) -> None:
        """Hear that records are given to the producer."""

    def on_sent(self) -> None:
        """Hear that the fate of all records given to the producer is known."""

    def on_answer(self) -> None:
        """Hear that a broker acknowledged or refused a record. Called in the producer's thread."""

    def on_statistics(self, *, n_connected: int, is_joined: bool, n_waiting: int) -> None:
        """Hear of connections to brokers, of the group, and of what is not yet acknowledged.

        `n_waiting` counts records that were not taken and batches that were; 0 is exact, other
        numbers are not. Called in the poll thread, every few seconds.
        """

    def on_broker_error(self, error: KafkaError) -> None:
        """Hear of every error librdkafka reports, transient ones too (not rate-limited)."""

    def on_commit(self, offsets: Mapping[TP, int]) -> None:
        """Hear which next offsets the broker confirmed."""

    def on_commit_failed(self, offsets: Mapping[TP, int], reason: str) -> None:
        """Hear of a commit that failed; it is tried again at the next interval."""

    def on_jump(self, jump: Jump) -> None:
        """Hear that a partition is read on elsewhere than where it was left: `Jump.n_lost`."""

    def on_lag(self, tp: TP, high_watermark: int, next_offset: int) -> None:
        """Hear how far a delivered chunk is from the partition's end; a negative mark is unknown."""


class StopClock:
    """The one deadline that all steps of an orderly stop share.

    Each step may use the time up to its share of the whole, so that the drain cannot eat what the
    commit needs. Before `start`, a step has its full share.

    Parameters
    ----------
    total_s : float
        Seconds for the whole stop.
    clock : callable
        Monotonic seconds; given by tests.
    """

    def __init__(self, total_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._total_s = total_s
        self._clock = clock
        self._started_at: float | None = None

    def start(self) -> None:
        """Start the clock; later calls change nothing."""
        if self._started_at is None:
            self._started_at = self._clock()

    def left_s(self, share: float) -> float:
        """Return the seconds until this share (0..1) of the whole is used up; 0 when it is."""
        passed = 0.0 if self._started_at is None else self._clock() - self._started_at
        return max(0.0, share * self._total_s - passed)


@dataclass(frozen=True, slots=True)
class Wire:
    """What the transport needs to know.

    Parameters
    ----------
    settings : Settings
        All settings; broker, consumer, producer and worker are read.
    gate : Gate
        Until it is set nothing is joined and nothing consumed. An `asyncio.Event` does.
    listener : WireListener
        Hears what happens; the default ignores it.
    """

    settings: Settings
    gate: Gate
    listener: WireListener = field(default_factory=WireListener)
    stop_clock: StopClock = field(init=False)

    def __post_init__(self) -> None:
        clock = StopClock(self.settings.worker.shutdown_deadline_s)
        object.__setattr__(self, "stop_clock", clock)


def wire_of(app: object) -> Wire:
    """Return the wire of a Faust app.

    Raises
    ------
    TypeError
        The app carries none: it was not made for this transport.
    """
    wire = getattr(app, "wire", None)
    if not isinstance(wire, Wire):
        raise TypeError(
            f"the app has wire={wire!r}; the rdkafka:// transport needs app.wire, an "
            "anoean_stream.kafka.wire.Wire, before its consumer or producer is created"
        )
    return wire
