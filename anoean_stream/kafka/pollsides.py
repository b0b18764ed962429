"""What stands on either side of the poll thread: the handle below, the owner above, the limits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from confluent_kafka import KafkaError, Message, TopicPartition
from faust.types import TP

from anoean_stream.kafka.chunking import Fetched
from anoean_stream.kafka.positions import Jump

OnCommit = Callable[[KafkaError | None, list[TopicPartition]], None]
Connect = Callable[[OnCommit], "ConsumerHandle"]


class ConsumerHandle(Protocol):
    """The methods of `confluent_kafka.Consumer` that the poller calls; see there."""

    # ruff: noqa: D102 - confluent-kafka documents them

    def subscribe(
        self, topics: list[str], *, on_assign: Any, on_revoke: Any, on_lost: Any
    ) -> None: ...
    def poll(self, timeout: float) -> Message | None: ...
    def consume(self, num_messages: int, timeout: float) -> list[Message]: ...
    def assign(self, partitions: list[TopicPartition]) -> None: ...
    def unassign(self) -> None: ...
    def incremental_assign(self, partitions: list[TopicPartition]) -> None: ...
    def incremental_unassign(self, partitions: list[TopicPartition]) -> None: ...
    def pause(self, partitions: list[TopicPartition]) -> None: ...
    def resume(self, partitions: list[TopicPartition]) -> None: ...
    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> Any: ...
    def get_watermark_offsets(
        self, partition: TopicPartition, timeout: float = ..., *, cached: bool = ...
    ) -> tuple[int, int] | None: ...
    def committed(
        self, partitions: list[TopicPartition], timeout: float
    ) -> list[TopicPartition]: ...
    def consumer_group_metadata(self) -> bytes: ...
    def close(self) -> None: ...


class PollerOwner(Protocol):
    """Who hears from the poll thread. Called in that thread; must not block and must not raise."""

    def received(self, chunks: list[Fetched]) -> None:
        """Take one batch; `Poller.release` gives its place back."""
        ...

    def assigned(self, epochs: Mapping[TP, int]) -> None:
        """Hear of new partitions, each with the epoch its chunks will carry."""
        ...

    def revoked(self, tps: frozenset[TP], done: Callable[[], None]) -> None:
        """Drain and commit these partitions, then call ``done`` (from any thread)."""
        ...

    def lost(self, tps: frozenset[TP]) -> None:
        """Hear that these partitions are another's already: no commit any more."""
        ...

    def reported(self, error: KafkaError, topic: str | None) -> None:
        """Hear of an error that came in place of a record."""
        ...

    def jumped(self, jump: Jump, epoch: int) -> None:
        """Hear that a partition is read on elsewhere than where it was left."""
        ...

    def polled(self, monotonic_s: float) -> None:
        """Hear that the thread turns."""
        ...

    def failed(self, error: BaseException) -> None:
        """Hear that the thread ended by an exception."""
        ...


@dataclass(frozen=True, slots=True)
class PollerLimits:
    """How much is fetched, held and waited for.

    Parameters
    ----------
    chunk_max_records : int
        Most records in one batch.
    chunk_linger_s : float
        Seconds to gather more records after the first of a batch.
    batches_in_flight : int
        Batches handed over and not yet released; then nothing more is consumed.
    drain_timeout_s : float
        Seconds a revocation waits for `PollerOwner.revoked`; well below max.poll.interval.ms, or
        the group throws the worker out.
    from_end : bool
        A group that has committed nothing begins at the end of the topic.
    """

    chunk_max_records: int
    chunk_linger_s: float
    batches_in_flight: int
    drain_timeout_s: float
    from_end: bool = False
